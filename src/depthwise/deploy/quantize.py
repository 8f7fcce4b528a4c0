"""INT8 (Jacob et al. 2018, arXiv:1712.05877): weights per channel, activations by ranges learnt from pictures.

ONNX Runtime's own quantiser inserts QuantizeLinear and DequantizeLinear nodes (ONNX's QDQ form), which ONNX Runtime and
OpenVINO turn into whole-number kernels. What comes before and after the network stays in float.
"""

import contextlib
import io
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthwise.metrics import Logits

OP_TYPES = ("Conv", "Gemm", "MatMul", "Add", "Concat", "MaxPool", "AveragePool", "Relu", "Clip")
"""What is computed in whole numbers. Squeeze-and-excite's products, SiLU and hard-swish stay in float."""
LAYERS = ("Conv", "Gemm", "MatMul", "Add", "Concat")
"""What can go back to float alone; the others follow what is in front of them."""
PERCENTILE = 99.99
"""Of a tensor's magnitudes, what its range covers. All of them (min-max) and 99.9 % gave logits with
larger errors for MobileNetV3-Small and EfficientNet-B0; the entropy that TensorRT uses was better for one, worse for
the other, and takes four times as long."""
CHUNK = 8
"""Pictures whose inner maps are in memory at a time."""


class Quantizer:
    """A network with the ranges of its inner maps, measured once; makes as many INT8 forms of it as are wanted.

    Used by `with`: at its end the files that it works on are gone.
    """

    def __init__(self, network: Any, pictures: NDArray[np.uint8]) -> None:
        """`network`: an onnx.ModelProto that takes `levels`; `pictures`: uint8 (N, S, S, C), N at least CHUNK."""
        self.layers = tuple(node.name for node in network.graph.node if node.op_type in LAYERS)
        self._levels = _levels(pictures[: len(pictures) // CHUNK * CHUNK])
        self._folder = tempfile.TemporaryDirectory(prefix="depthwise-int8-")
        self.network = _prepared(network, Path(self._folder.name))
        self._quantized(())  # calibrates, and leaves the ranges for all that follow

    def __enter__(self) -> "Quantizer":
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def without(self, floats: Collection[str]) -> Any:
        """Return the network in INT8 as an onnx.ModelProto, but for the layers in `floats`."""
        return self._quantized([layer for layer in self.layers if layer in floats])

    def only(self, layer: str) -> Any:
        """Return the network in float, but for one layer."""
        return self._quantized([], [layer])

    def _quantized(self, excluded: Collection[str], included: Collection[str] = ()) -> Any:
        import onnx
        from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static

        out = Path(self._folder.name) / "int8.onnx"
        with contextlib.redirect_stdout(io.StringIO()):  # the quantiser tells of every chunk
            quantize_static(
                self.network,
                out,
                _Reader(self._levels),
                op_types_to_quantize=list(OP_TYPES),
                per_channel=True,
                activation_type=QuantType.QUInt8,  # U8S8: what VNNI and AMX multiply
                weight_type=QuantType.QInt8,
                nodes_to_quantize=list(included),
                nodes_to_exclude=list(excluded),
                calibrate_method=CalibrationMethod.Percentile,
                calibration_cache_path=Path(self._folder.name) / "ranges.json",
                extra_options={"CalibPercentile": PERCENTILE, "CalibStridedMinMax": CHUNK},
            )
        return onnx.load(out)


class _Reader:
    """Calibration pictures as ONNX Runtime's quantiser asks for them (its `CalibrationDataReader`)."""

    def __init__(self, levels: NDArray[np.float32]) -> None:
        self._levels, self._places = levels, iter(range(0))

    def __len__(self) -> int:
        return len(self._levels)

    def __iter__(self) -> Iterator[dict[str, NDArray[np.float32]]]:
        return self

    def __next__(self) -> dict[str, NDArray[np.float32]]:
        place = next(self._places)
        return {"levels": self._levels[place : place + 1]}

    def set_range(self, start_index: int, end_index: int) -> None:
        """Give these pictures from now on."""
        self._places = iter(range(start_index, end_index))

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return a picture; None when there are no more."""
        return next(self, None)


def sensitivity(quantizer: Quantizer, pictures: NDArray[np.uint8]) -> Iterator[tuple[str, float]]:
    """Yield each layer, and by how much logits (root mean square) change when it alone is computed in INT8."""
    from depthwise.deploy.engine import run_network

    levels = _levels(pictures)
    exact: Logits = run_network(quantizer.network, levels)
    for layer in quantizer.layers:
        found: Logits = run_network(quantizer.only(layer).SerializeToString(), levels)
        yield layer, float(np.sqrt(np.mean((found - exact) ** 2)))


def _levels(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (N, C, S, S), still from 0 to 255."""
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).astype(np.float32)


def _prepared(network: Any, folder: Path) -> Path:
    """Write the network with the shapes of its inner maps, as the quantiser wants it; return the file."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    plain, prepared = folder / "plain.onnx", folder / "prepared.onnx"
    onnx.save(network, plain)
    quant_pre_process(plain, prepared, skip_optimization=True, skip_symbolic_shape=True)
    return prepared
