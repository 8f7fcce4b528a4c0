"""depthwise: from a folder of labelled photos to a small, fast, honest image classifier."""

from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "list_models": "depthwise.models.registry",
    "model_info": "depthwise.models.registry",
    "create_model": "depthwise.models.create",
    "load_weights": "depthwise.models.weights.load",
    "ModelSpec": "depthwise.models.registry",
    "summary": "depthwise.models.summary",
    "audit": "depthwise.workflows.auditing",
    "split": "depthwise.workflows.splitting",
    "train": "depthwise.workflows.staged_training",
    "evaluate": "depthwise.workflows.evaluation",
    "write_report": "depthwise.report.run_page",
    "export": "depthwise.workflows.exporting",
    "verify": "depthwise.workflows.verifying",
    "calibrate": "depthwise.workflows.calibrating",
    "compare": "depthwise.workflows.comparing",
    "load": "depthwise.workflows.loading",
    "import_model": "depthwise.workflows.importing",
    "Classifier": "depthwise.deploy.predict",
    "Prediction": "depthwise.deploy.predict",
    "Choice": "depthwise.deploy.engine",
    "SplitConfig": "depthwise.config",
    "TrainConfig": "depthwise.config",
    "UserError": "depthwise.errors",
    "UnusablePicture": "depthwise.errors",
}
__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604 (the keys are strings)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: `import depthwise` loads no torch."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'depthwise' has no attribute {name!r}")
    from importlib import import_module

    try:
        value = getattr(import_module(_PUBLIC[name]), name)
    except ModuleNotFoundError as error:
        from depthwise.errors import require

        missing = (error.name or __name__).partition(".")[0]
        require(missing, "train", f"depthwise.{name}")  # else it is a module of ours
        raise
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
