"""Asking for a cache line ahead of its use: what random access to large tables waits for."""

from typing import Any

from sharesim.kernel import JIT

if JIT:
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    @intrinsic
    def prefetch(typingctx: Any, array: Any, index: Any) -> Any:
        """Ask for the cache line of ``array[index]``; changes nothing. For kernels only.

        LLVM's own intrinsic, for reading, to be kept in all caches. It takes some 20 ns off an
        access that misses them; benchmarks/versus_plain.py would notice its loss.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = signature.args[0]
            view = context.make_array(kind)(context, builder, arguments[0])
            place = cgutils.get_item_pointer(
                context, builder, kind, view, [arguments[1]], wraparound=False
            )
            byte, whole = ir.IntType(8).as_pointer(), ir.IntType(32)
            function = cgutils.get_or_insert_function(
                builder.module,
                ir.FunctionType(ir.VoidType(), [byte, whole, whole, whole]),
                "llvm.prefetch.p0i8",
            )
            address = builder.bitcast(place, byte)
            builder.call(function, [address, whole(0), whole(3), whole(1)])
            return context.get_dummy_value()

        return types.void(array, types.intp), generate

else:

    def prefetch(array: Any, index: Any) -> Any:
        """Nothing to do without the JIT."""
