import pickle

import pytest

from depthwise.errors import Interrupted, UnusablePicture, UserError, require, suggest


def test_suggestions_name_the_nearest_three_at_most():
    names = ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "lenet5"]
    assert suggest("lenet-5", ["mobilenet_v1", "lenet5", "vgg16"]).startswith("; did you mean lenet5")
    assert suggest("mobilenet_v", names).count(",") == 2
    assert suggest("zzzz", names) == ""
    assert suggest("lenet5", []) == ""


def test_an_unusable_picture_keeps_reason_and_detail_through_pickle():
    error = pickle.loads(pickle.dumps(UnusablePicture("corrupt", "broken at byte 3")))
    assert (type(error), error.reason, error.detail) == (UnusablePicture, "corrupt", "broken at byte 3")
    assert str(error) == "corrupt: broken at byte 3"


def test_an_interruption_carries_the_signal():
    error = Interrupted("Stopped after step 3", 15)
    assert (str(error), error.signum) == ("Stopped after step 3", 15)


def test_neither_is_a_user_error():
    assert not issubclass(UnusablePicture, UserError) and not issubclass(Interrupted, UserError)


def test_a_missing_module_is_named_with_the_command_that_installs_it():
    require("json", "train", "reading")  # what is there raises nothing
    with pytest.raises(UserError) as got:
        require("no_such_module", "train", "reading best.safetensors")
    message = str(got.value)
    assert message.startswith("reading best.safetensors needs no_such_module, which is not installed.\n")
    assert "pip install 'depthwise[train]'" in message
    assert "https://download.pytorch.org/whl/cpu" in message
