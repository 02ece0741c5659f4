"""Quantised convolutions as matrix products: the same integers, in about half the time on a CPU.

ONNX Runtime's `ConvInteger` takes its windows apart and packs the activations anew at every call. Its matrix product
packs the weights once, when the model is loaded, and uses the dot-product instructions of the processor. So every
convolution over time of stride 1 becomes: windows side by side (8 bit), one product, one transposition. The products
are the same numbers; only the bias is no longer rounded to a whole step of the quantisation.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

FEWEST_CHANNELS = 16
"""Below it a product has too little to do."""

RECIPE = f"products-{hashlib.sha256(Path(__file__).read_bytes() + onnx.__version__.encode()).hexdigest()[:12]}"
"""Changes with the code that rewrites: what other code wrote is not taken for its work."""

_END = np.iinfo(np.int64).max


def gain_here(cpu_info: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor has dot products of bytes (VNNI, or ARM's).

    Without them signed products gain nothing, and those of AVX2 alone would saturate at 16 bits.
    """
    try:
        words = set(cpu_info.read_text("ascii", errors="replace").split())
    except OSError:
        return False
    return not words.isdisjoint({"avx512_vnni", "avx_vnni", "asimddp"})


def as_matrix_products(model: Path) -> bytes:
    """The model with its quantised convolutions rewritten; a model without any comes back as it was.

    Raises `google.protobuf.message.DecodeError`, OSError.
    """
    loaded = onnx.load(str(model))
    graph = loaded.graph
    rewriting = _Rewriting(graph)
    nodes = _needed(list(rewriting.nodes()), [output.name for output in graph.output])
    read = {name for node in nodes for name in node.input}
    constants = [tensor for tensor in (*graph.initializer, *rewriting.constants.values()) if tensor.name in read]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.initializer[:]
    graph.initializer.extend(constants)
    content: bytes = loaded.SerializeToString()
    return content


@dataclass(frozen=True, slots=True)
class _Convolution:
    """`ConvInteger` and what makes its integers real numbers: an added bias, if any, a cast, and a scale."""

    chain: tuple[NodeProto, ...]
    inputs: NodeProto
    """The `DynamicQuantizeLinear` before it."""
    weights: NDArray[np.uint8]
    """Shape (out channels, in channels, width)."""
    zero_point: NDArray[np.uint8]
    scale: str
    bias: str
    """Name of the real-valued constant, or empty."""
    dilation: int
    before: int
    after: int

    @property
    def output(self) -> str:
        return str(self.chain[-1].output[0])


class _Rewriting:
    """The nodes of a graph, rewritten, and the constants that they need beside the graph's own."""

    def __init__(self, graph: Any) -> None:
        self.constants: dict[str, Any] = {}
        self._nodes: Sequence[NodeProto] = graph.node
        self._initial = {tensor.name: tensor for tensor in graph.initializer}
        self._maker = {output: node for node in graph.node for output in node.output}
        self._readers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self._readers[name].append(node)

    def nodes(self) -> Iterator[NodeProto]:
        """In order of computation; what is no longer read is still among them."""
        found = [conv for node in self._nodes if node.op_type == "ConvInteger" and (conv := self._recognise(node))]
        by_end = {conv.output: conv for conv in found}
        replaced = {node.output[0] for conv in found for node in conv.chain}
        for node in self._nodes:
            if node.output[0] in by_end:
                yield from self._product(by_end[node.output[0]])
            elif node.output[0] not in replaced:
                yield node

    def _recognise(self, node: NodeProto) -> _Convolution | None:
        """None: not of the shape that onnxruntime's dynamic quantisation writes, or not worth a product."""
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        weights = numpy_helper.to_array(self._initial[node.input[1]]) if node.input[1] in self._initial else None
        quantised = self._maker.get(node.input[0])
        if weights is None or weights.ndim != 3 or weights.shape[1] < FEWEST_CHANNELS or weights.dtype != np.uint8:
            return None
        if quantised is None or quantised.op_type != "DynamicQuantizeLinear" or len(node.input) < 4:
            return None
        [dilation], [stride], (before, after) = (attributes[name] for name in ("dilations", "strides", "pads"))
        if stride != 1 or attributes["group"] != 1 or before + after != dilation * (weights.shape[2] - 1):
            return None
        chain = self._chain(node)
        if chain is None:
            return None
        bias = self._bias(chain[1], weights.shape[0]) if chain[1].op_type == "Add" else ""
        scale = self._scale(chain)
        if bias is None or scale is None:
            return None
        zero_point = numpy_helper.to_array(self._initial[node.input[3]])
        return _Convolution(chain, quantised, weights, zero_point, scale, bias, dilation, before, after)

    def _chain(self, node: NodeProto) -> tuple[NodeProto, ...] | None:
        """ConvInteger, perhaps Add, Cast, Mul; each read by the next alone."""
        chain = [node]
        for wanted in ("Add", "Cast", "Mul"):
            readers = self._readers[chain[-1].output[0]]
            if len(readers) == 1 and readers[0].op_type == wanted:
                chain.append(readers[0])
            elif wanted != "Add":
                return None
        return tuple(chain)

    def _bias(self, addition: NodeProto, channels: int) -> str | None:
        """The real-valued constant from which the integers that are added were made."""
        node = self._maker.get(addition.input[1])
        while node is not None:
            for name in node.input:
                constant = self._initial.get(name)
                if constant is not None and constant.data_type == onnx.TensorProto.FLOAT:
                    return name if list(constant.dims) == [channels] else None
            node = self._maker.get(node.input[0])
        return None

    def _scale(self, chain: Sequence[NodeProto]) -> str | None:
        """The scale of the weights: the constant in the product of both scales."""
        [product] = [name for name in chain[-1].input if name != chain[-2].output[0]]
        scales = self._maker.get(product)
        constants = [name for name in scales.input if name in self._initial] if scales is not None else []
        return constants[0] if len(constants) == 1 else None

    def _product(self, conv: _Convolution) -> Iterator[NodeProto]:
        """Activations (1, channels, time) → windows (1, time, width · channels) · weights → (1, channels, time)."""
        quantised, scale, zero_point = conv.inputs.output
        name = conv.output
        width = conv.weights.shape[2]
        # Signed weights are what the dot-product instructions take; both sides of the difference move by 128.
        signed = (conv.weights.transpose(2, 1, 0).reshape(-1, conv.weights.shape[0]) ^ 0x80).view(np.int8)
        weights = self._constant(f"{name}.weights", signed)
        weights_zero = self._constant(f"{name}.zero", (conv.zero_point ^ 0x80).view(np.int8))
        windows = f"{name}.transposed"
        yield helper.make_node("Transpose", [quantised], [windows], perm=[0, 2, 1])
        if width > 1:
            yield from self._windows(conv, windows, f"{name}.windows", zero_point)
            windows = f"{name}.windows"
        inputs = [windows, weights, scale, conv.scale, zero_point, weights_zero, *filter(None, [conv.bias])]
        yield helper.make_node("MatMulIntegerToFloat", inputs, [f"{name}.product"], domain="com.microsoft")
        yield helper.make_node("Transpose", [f"{name}.product"], [name], perm=[0, 2, 1])

    def _windows(self, conv: _Convolution, source: str, target: str, zero_point: str) -> Iterator[NodeProto]:
        span = conv.before + conv.after
        pads = self._constant(f"pads {conv.before} {conv.after}", np.array([0, conv.before, 0, 0, conv.after, 0]))
        axis = self._constant("time axis", np.array([1]))
        yield helper.make_node("Pad", [source, pads, zero_point], [f"{target}.padded"])
        shifted = []
        for start in range(0, span + 1, conv.dilation):
            first = self._constant(f"from {start}", np.array([start]))
            last = self._constant(f"until {start - span}", np.array([start - span or _END]))
            shifted.append(f"{target}.{start}")
            yield helper.make_node("Slice", [f"{target}.padded", first, last, axis], [shifted[-1]])
        yield helper.make_node("Concat", shifted, [target], axis=2)

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        name = f"octavia/{name}"
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name


def _needed(nodes: list[NodeProto], outputs: Sequence[str]) -> list[NodeProto]:
    """Without the nodes that nothing reads any more."""
    read, kept = set(outputs), []
    for node in reversed(nodes):
        if not read.isdisjoint(node.output):
            kept.append(node)
            read.update(node.input)
    return kept[::-1]
