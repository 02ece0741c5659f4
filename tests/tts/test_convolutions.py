"""The rewritten convolutions give what the published ones give."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from octavia_stream.tts import convolutions
from octavia_stream.tts.kokoro import open_session

CHANNELS, STEPS = 24, 97
RANDOM = np.random.default_rng(7)


def quantised(directory: Path, *, width: int, dilation: int = 1, stride: int = 1, bias: bool = True) -> Path:
    """One convolution over time of (1, CHANNELS, STEPS), quantised as Kokoro's publisher did it."""
    weights = RANDOM.standard_normal((32, CHANNELS, width)).astype(np.float32)
    constants = [numpy_helper.from_array(weights, "weights")]
    inputs = ["x", "weights"]
    if bias:
        constants.append(numpy_helper.from_array(RANDOM.standard_normal(32).astype(np.float32), "bias"))
        inputs.append("bias")
    span = dilation * (width - 1)
    convolution = helper.make_node(
        "Conv", inputs, ["y"], dilations=[dilation], strides=[stride], pads=[span // 2, span - span // 2], group=1,
        kernel_shape=[width],
    )  # fmt: skip
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CHANNELS, "steps"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(helper.make_graph([convolution], "one", [x], [y], constants))
    model.ir_version = 10
    model.opset_import[0].version = 17
    onnx.save(model, str(directory / "real.onnx"))
    target = directory / "quantised.onnx"
    quantize_dynamic(directory / "real.onnx", target, weight_type=QuantType.QUInt8)
    return target


def run(model: str | bytes, x: NDArray[np.float32]) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    result: NDArray[np.float32] = session.run(None, {"x": x})[0]
    return result


def operations(model: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(model).graph.node]


@pytest.mark.skipif(not convolutions.gain_here(), reason="signed products of bytes may saturate on this processor")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("width", "dilation"), [(1, 1), (2, 1), (3, 1), (3, 5), (7, 3), (11, 1)])
def test_a_rewritten_convolution_gives_the_same_numbers(tmp_path: Path, width: int, dilation: int, bias: bool) -> None:
    model = quantised(tmp_path, width=width, dilation=dilation, bias=bias)
    rewritten = convolutions.as_matrix_products(model)
    assert "ConvInteger" in operations(model.read_bytes())
    assert "ConvInteger" not in operations(rewritten)
    x = RANDOM.standard_normal((1, CHANNELS, STEPS)).astype(np.float32)
    expected = run(str(model), x)
    # A step of the quantised bias is a few ten-thousandths of the largest value.
    np.testing.assert_allclose(run(rewritten, x), expected, atol=1e-3 * float(np.abs(expected).max()))


def test_a_convolution_that_skips_steps_stays_as_it_is(tmp_path: Path) -> None:
    model = quantised(tmp_path, width=3, stride=2)
    assert "ConvInteger" in operations(convolutions.as_matrix_products(model))


def test_a_model_of_real_numbers_stays_as_it_is(tmp_path: Path) -> None:
    quantised(tmp_path, width=3)
    assert operations(convolutions.as_matrix_products(tmp_path / "real.onnx")) == ["Conv"]


@pytest.mark.parametrize(
    ("flags", "gains"), [("flags : fpu avx512_vnni", True), ("Features : fp asimddp", True), ("flags : avx2", False)]
)
def test_products_are_chosen_where_the_processor_has_them(tmp_path: Path, flags: str, gains: bool) -> None:
    (tmp_path / "cpuinfo").write_text(flags)
    assert convolutions.gain_here(tmp_path / "cpuinfo") is gains


def test_a_machine_that_does_not_say_keeps_the_published_model(tmp_path: Path) -> None:
    assert convolutions.gain_here(tmp_path / "absent") is False


@pytest.mark.skipif(not convolutions.gain_here(), reason="nothing is rewritten on this processor")
def test_the_rewritten_model_is_loaded_from_a_file_that_is_kept_and_from_memory_without_room(tmp_path: Path) -> None:
    model = quantised(tmp_path, width=3)
    kept = tmp_path / "kept.onnx"

    def keep(recipe: str, source: Path, make: Callable[[Path], None]) -> Path:
        assert (recipe, source) == (convolutions.RECIPE, model)
        make(kept)
        return kept

    x = RANDOM.standard_normal((1, CHANNELS, STEPS)).astype(np.float32)
    by_path, in_memory, each_time = (
        open_session(model, 1, "cpu", derive).run(None, {"x": x})[0] for derive in (keep, lambda *_: None, None)
    )
    assert operations(kept.read_bytes()) == operations(convolutions.as_matrix_products(model))
    np.testing.assert_array_equal(by_path, in_memory)
    np.testing.assert_array_equal(by_path, each_time)
