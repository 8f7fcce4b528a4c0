import json

import pytest

from depthwise.cli import run
from depthwise.errors import UserError
from depthwise.models.costs import cost_grid
from depthwise.models.registry import facts, model_info
from depthwise.report.tables import cost_table


def test_widths_and_sizes_cost_what_is_recorded():
    known = {
        (float(width), int(size)): (fact["params"], fact["macs"])
        for fact in facts()["models"]
        if fact["family"] == "mobilenet_v1" and "@" in fact["variant"]
        for width, size in [fact["variant"].split(" @ ")]
    }
    grid = cost_grid("mobilenet_v1", (0.25, 0.5, 0.75, 1.0), (128, 160, 192, 224))
    assert {(c.width, c.image_size): (c.params, c.macs) for c in grid} == known
    assert len(grid) == 16


def test_the_names_own_width_and_the_papers_size_are_the_default():
    (cost,) = cost_grid("efficientnet_b1")
    spec = model_info("efficientnet_b1")
    assert cost == (1.0, 240, spec.params, spec.macs)
    (cost,) = cost_grid("mobilenet_v2_x0_5", width=1.4)
    assert (cost.width, cost.params) == (1.4, model_info("mobilenet_v2_x1_4").params)


def test_shufflenet_v1_has_scales():
    assert [cost.params for cost in cost_grid("shufflenet_v1", (0.5, 1))] == [718_324, 1_865_728]


def test_classes_channels_and_options_count():
    (plain,), (grey,) = cost_grid("mobilenet_v3_small"), cost_grid("mobilenet_v3_small", (), (), 10, 1, minimal=True)
    assert grey.params < plain.params - 990 * 1024


@pytest.mark.parametrize("name", ["resnet18", "lenet5", "shufflenet_v2", "vgg16"])
def test_a_family_without_widths_is_refused_with_those_that_have_one(name):
    with pytest.raises(UserError, match="no option for its width; these families have: shufflenet_v1, mobilenet_v1, "):
        cost_grid(name, (0.5,))


def test_the_table_has_a_line_a_width_and_a_column_a_size():
    said = cost_table(cost_grid("mobilenet_v1", (0.5, 1.0), (128, 224))).splitlines()
    assert [line.split() for line in said] == [
        ["width", "128", "px", "224", "px", "parameters"],
        ["0.5", "49.2", "149.5", "1,331,592"],
        ["1", "186.4", "568.7", "4,231,976"],
    ]


def test_the_command_prints_the_table_and_json(capsys):
    assert run(["summary", "mobilenet_v1", "--widths", "0.5,1.0", "--sizes", "128,160"]) == 0
    said = capsys.readouterr().out
    assert "186.4" in said and "290.7" in said
    assert "Next: depthwise train PHOTOS --model mobilenet_v1_x1_0 --set width=0.5 --image-size 128" in said
    assert run(["summary", "mobilenet_v1", "--sizes", "128", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row == {"width": 1.0, "image_size": 128, "params": 4231976, "macs": 186400768}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--widths", "1,x"], "--widths 1,x: expected numbers above zero"),
        (["--widths", "0"], "--widths 0: expected numbers above zero"),
        (["--widths", ""], "--widths : expected numbers above zero"),
        (["--sizes", "128.5"], "--sizes 128.5: expected whole numbers above zero"),
        (["--sizes", "128", "--svg", "x.svg"], "leave --svg and --image-size out"),
        (["--widths", "1", "--image-size", "128"], "leave --svg and --image-size out"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message, capsys):
    assert run(["summary", "mobilenet_v2", *arguments]) == 2
    assert message in capsys.readouterr().err
