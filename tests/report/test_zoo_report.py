import json

import pytest

from depthwise.cli import run
from depthwise.models.registry import list_models, model_info
from depthwise.report.zoo import entries, to_json, zoo_table


def names(pattern, order=None):
    return [row.spec.name for row in entries(pattern, order)]


def test_without_an_order_the_networks_come_as_the_papers_did():
    assert names("*") == list_models()


@pytest.mark.parametrize("order", ["params", "macs", "year"])
def test_costs_and_years_rise(order):
    values = [getattr(row.spec, order) for row in entries("*", order)]
    assert values == sorted(values)
    assert len(values) == len(list_models())


def test_accuracy_falls_and_networks_without_public_weights_come_last():
    rows = entries("*", "top1")
    values = [row.public.top1 for row in rows if row.public]
    assert values == sorted(values, reverse=True)
    assert [row.public is None for row in rows] == sorted(row.public is None for row in rows)
    assert rows[0].spec.name == "efficientnet_b7"


def test_equal_networks_keep_the_papers_order():
    assert names("resnet50*", "params") == ["resnet50", "resnet50_v1_5"]


def test_json_holds_the_papers_accuracy_and_the_best_public_one_with_its_source():
    row = to_json(entries("resnet18")[0])
    assert row["top1"] == row["paper_top1"] == 72.12
    assert row["top1_protocol"] == "10-crop"
    assert row["best_public_top1"] > 73
    assert row["best_public_origin"] == "timm:resnet18.a1_in1k"
    assert row["best_public_image_size"] == 288
    assert row["best_public_source"].startswith("timm 1.0")
    assert row["bibtex"] == model_info("resnet18").bibtex
    assert row["aliases"] == ()
    json.dumps(row)


def test_json_says_null_where_there_are_no_public_weights():
    row = to_json(entries("lenet5")[0])
    public = {key: value for key, value in row.items() if key.startswith("best_public")}
    assert set(public) == {f"best_public_{what}" for what in ("top1", "origin", "image_size", "source")}
    assert set(public.values()) == {None}
    assert row["paper_top1"] is None


def test_the_table_has_a_line_per_network_and_fits_a_terminal():
    lines = zoo_table(entries()).splitlines()
    assert max(map(len, lines)) <= 120
    assert [line.split()[0] for line in lines[1 : 1 + len(list_models())]] == list_models()


def test_the_table_shows_cost_and_both_accuracies():
    (row,) = [line for line in zoo_table(entries("vgg*")).splitlines() if line.startswith("vgg16 ")]
    cells = ["vgg16", "vgg", "2014", "224", "138,357,544", "15,470,264,320", "74.4*", "71.6", "224", "torchvision"]
    assert row.split() == cells


def test_the_table_names_only_the_sources_that_it_uses():
    said = " ".join(zoo_table(entries("vgg*")).split())
    assert "torchvision 0.29.1" in said and "timm" not in said
    assert "dense evaluation" in said and "10-crop" not in said
    said = " ".join(zoo_table(entries("lenet5")).split())
    assert "best %:" not in said and "*" not in said.split("paper %:")[1]


def test_the_table_says_what_short_names_mean():
    assert "mobilenet_v2 is mobilenet_v2_x1_0" in " ".join(zoo_table(entries("mobilenet_v2*")).split())


def test_the_command_sorts_and_prints_json(capsys):
    assert run(["models", "mobilenet_v3*", "--sort", "top1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == names("mobilenet_v3*", "top1")
    assert run(["models", "mobilenet_v3*", "--sort", "macs"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith("mobilenet_v3_small_x0_75")
    assert said[-1] == "Next: depthwise summary NAME"


def test_an_unknown_order_is_refused(capsys):
    assert run(["models", "--sort", "name"]) == 2
    assert "top1" in capsys.readouterr().err
