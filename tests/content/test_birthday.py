"""The birthday law, against counting all possible digests and against known figures."""

from collections import Counter
from itertools import product

import numpy as np
import pytest

from sharesim.content.birthday import Birthday, even_odds


@pytest.mark.parametrize(("pages", "bits"), [(0, 2), (1, 2), (2, 2), (5, 2), (6, 2), (3, 3)])
def test_it_is_what_counting_all_digests_gives(pages: int, bits: int) -> None:
    pairs, repeats = [], []
    for digests in product(range(2**bits), repeat=pages):
        counts = Counter(digests).values()
        pairs.append(sum(count * (count - 1) // 2 for count in counts))
        repeats.append(pages - len(counts))
    law = Birthday(pages, bits)
    assert law.pairs == pytest.approx(np.mean(pairs))
    assert law.pairs_spread == pytest.approx(np.std(pairs), abs=1e-9)
    assert law.repeats == pytest.approx(np.mean(repeats), abs=1e-12)
    assert law.repeats_spread == pytest.approx(np.std(repeats), abs=1e-7)
    assert law.chance == pytest.approx(np.mean(np.array(pairs) > 0), abs=1e-12)


def test_two_gibibytes_under_eighteen_bits() -> None:
    law = Birthday(1 << 19, 18)
    assert round(law.pairs) == 524_287
    assert round(law.repeats) == 297_621


@pytest.mark.parametrize("bits", [28, 32, 40])
def test_few_collisions_are_as_many_pairs_as_repeats_with_the_spread_of_poisson(bits: int) -> None:
    law = Birthday(1 << 19, bits)
    assert law.repeats == pytest.approx(law.pairs, rel=2e-3)
    assert law.repeats_spread == pytest.approx(law.pairs**0.5, rel=2e-3)


def test_even_odds() -> None:
    assert even_odds(16) / 2**8 == pytest.approx(1.1774, rel=0.01)
    for bits in (2, 3, 8, 20, 32):
        pages = even_odds(bits)
        assert Birthday(pages, bits).chance >= 0.5 > Birthday(pages - 1, bits).chance


@pytest.mark.parametrize(("pages", "bits"), [(-1, 8), (8, 1), (8, 0)])
def test_what_has_no_law_is_refused(pages: int, bits: int) -> None:
    with pytest.raises(ValueError, match="no birthday law"):
        Birthday(pages, bits)
