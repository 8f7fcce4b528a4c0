import subprocess
import sys

import pytest

import depthwise
from depthwise.errors import UserError

HEAVY = ("torch", "safetensors", "PIL", "numpy", "onnxruntime", "numba")


def loaded_by(code: str) -> set[str]:
    """Return which of HEAVY a fresh Python has loaded after `code`."""
    code += f"\nimport sys; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import depthwise; depthwise.__version__; dir(depthwise)") == set()


def test_what_predicts_loads_no_torch():
    code = "import depthwise; depthwise.Classifier; depthwise.TrainConfig; import depthwise.artifact, depthwise.metrics"
    code += "; import depthwise.data.cache, depthwise.data.loader, depthwise.workflows.evaluation"
    assert not loaded_by(code) & {"torch", "safetensors", "numba"}


def test_every_public_name_resolves_and_is_listed():
    assert "create_model" in depthwise.__all__
    assert len(set(depthwise.__all__)) == len(depthwise.__all__)
    for name in depthwise.__all__:
        assert getattr(depthwise, name) is getattr(depthwise, name)
    assert dir(depthwise) == sorted(depthwise.__all__)


def test_public_names_are_those_of_the_modules_they_come_from():
    from depthwise.models.summary import summary

    assert depthwise.UserError is UserError
    assert depthwise.summary is summary


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'depthwise' has no attribute 'tran'"):
        depthwise.tran  # noqa: B018
    assert not hasattr(depthwise, "nothing")
