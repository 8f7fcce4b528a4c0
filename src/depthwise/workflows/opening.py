"""From an exported file to the engine that runs it. Imports torch for `.pt2` only."""

from pathlib import Path

from depthwise.deploy.engine import Choice, Exported, OnnxEngine, Parts
from depthwise.errors import UserError, require


def open_engine(path: Path, choice: Choice | None = None, *, trust_code: bool = False) -> Exported:
    """Return the engine for an exported file. Raises UserError when it cannot be run, or not so.

    `trust_code`: a `.pt2` may run the code in it, and is not opened without; other kinds hold none.
    """
    choice = choice or Choice()
    kind, wanted = path.suffix, choice.engine
    if kind == ".xml" or (kind == ".onnx" and wanted.startswith("openvino")):
        if wanted == "onnxruntime":
            raise UserError(f"{path}: --engine onnxruntime runs .onnx files; OpenVINO runs this one")
        from depthwise.deploy.openvino_engine import OpenVinoEngine

        found: Exported = OpenVinoEngine(path, threads=choice.threads, is_bf16=wanted == "openvino-bf16")
        return Parts(found, choice.batch) if choice.batch else found
    if kind != ".onnx" and wanted != "auto":
        raise UserError(f"{path}: --engine {wanted} does not run {kind} files; leave --engine out")
    if kind == ".tflite":
        from depthwise.deploy.litert_engine import LiteRtEngine

        return LiteRtEngine(path, threads=choice.threads)
    if kind == ".pt2":
        require("torch", "train", f"running {path}")
        from depthwise.deploy.limited import Limited
        from depthwise.deploy.program import ProgramEngine

        program = ProgramEngine(path, trust_code=trust_code)
        return Limited(program, choice.threads) if choice.threads else program
    found = OnnxEngine(path, threads=choice.threads)
    return Parts(found, choice.batch) if choice.batch else found
