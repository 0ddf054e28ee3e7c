"""What the plain model of ksmd works on: knobs, processes, pages, and what ksmd keeps of them."""

from dataclasses import dataclass, field

from tests.model.plain_tree import Node

PRIVATE, MERGED, ZEROED = "private", "merged", "zeroed"
MS, SECOND = 1_000_000, 1_000_000_000


@dataclass
class Knobs:
    """The files of sysfs, and the options of the model."""

    pages_to_scan: int = 100
    sleep_millisecs: int = 20
    smart_scan: int = 1
    use_zero_pages: int = 0
    max_page_sharing: int = 256
    stable_node_chains_prune_millisecs: int = 2000
    advisor_mode: str = "none"
    advisor_target_scan_time: int = 200
    advisor_min_pages_to_scan: int = 500
    advisor_max_pages_to_scan: int = 30000
    advisor_max_cpu: int = 70
    run: int = 1
    checksum_first: int = 1
    unstable: str = "tree"


class StableNode(Node):
    """A KSM page: its frame is free, and the node stale, when no page maps it any more."""

    def __init__(self, content: int) -> None:
        super().__init__()
        self.content = content
        self.mappings = 0
        self.items: set[Item] = set()
        self.chain: Chain | None = None


class Chain(Node):
    """A place of the stable tree with several nodes of one content."""

    def __init__(self, now: int) -> None:
        super().__init__()
        self.dups: list[StableNode] = []
        self.pruned = now


class Item(Node):
    """What ksmd knows of one page (an rmap_item); ``node``: the stable node that lists it."""

    def __init__(self, page: "Page") -> None:
        super().__init__()
        self.page = page
        self.checksum: int | None = None
        self.age = 0
        self.skips = 0
        self.node: StableNode | None = None
        self.unstable_since: int | None = None


@dataclass(eq=False)
class Page:
    """``kind``: None while nothing is mapped that ksmd or the process put there by writing."""

    content: int | None = None
    kind: str | None = None
    node: StableNode | None = None
    mergeable: bool = False
    item: Item | None = None


@dataclass(eq=False)
class Process:
    """An address space of so many pages; ``contents``: page -> content of what it has written."""

    size: int
    contents: dict[int, int] = field(default_factory=dict)
    exited: bool = False

    def __post_init__(self) -> None:
        self.pages = [Page() for _ in range(self.size)]
        for number, content in self.contents.items():
            self.pages[number] = Page(content, PRIVATE)

    @property
    def items(self) -> list[Item]:
        """Its rmap_items."""
        return [page.item for page in self.pages if page.item is not None]
