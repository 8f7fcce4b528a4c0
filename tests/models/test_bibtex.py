import re

import pytest

from depthwise.models.registry import list_models, model_info

ENTRIES = sorted({model_info(name).bibtex for name in list_models()})


def test_an_entry_names_authors_title_place_and_year():
    assert model_info("mobilenet_v2").bibtex.splitlines() == [
        "@inproceedings{sandler2018mobilenetv2,",
        "  author = {Sandler, M. and Howard, A. and Zhu, M. and Zhmoginov, A. and Chen, L.-C.},",
        "  title = {{MobileNetV2: Inverted Residuals and Linear Bottlenecks}},",
        "  booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition (CVPR)},",
        "  year = {2018},",
        "  eprint = {1801.04381},",
        "  archivePrefix = {arXiv}",
        "}",
    ]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "lenet5",
            [
                "@article{lecun1998gradient,",
                "  journal = {Proceedings of the IEEE},",
                "  volume = {86},",
                "  pages = {2278--2324},",
                "  doi = {10.1109/5.726791},",
            ],
        ),
        ("alexnet_owt", ["@misc{krizhevsky2014one,", "  author = {Krizhevsky, A.},", "  eprint = {1404.5997},"]),
        ("resnet18", ["@inproceedings{he2016deep,", "  year = {2016},"]),  # the conference's year, not arXiv's
        ("densenet121", ["  author = {Huang, G. and Liu, Z. and van der Maaten, L. and Weinberger, K. Q.},"]),
        ("seresnet50", ["@inproceedings{hu2018squeeze,", "  author = {Hu, J. and Shen, L. and Sun, G.},"]),
        ("efficientnet_lite0", ["@misc{google2020efficientnet,", "  author = {{Google}},"]),
    ],
)
def test_entries_differ_by_where_a_paper_appeared(name: str, lines: list[str]):
    assert set(lines) <= set(model_info(name).bibtex.splitlines())


def test_every_network_has_an_entry_and_every_paper_a_key_of_its_own():
    keys = [re.match(r"@(?:article|inproceedings|misc)\{(\w+),", entry)[1] for entry in ENTRIES]
    assert len(keys) == len(set(keys)) == 16  # 15 papers and EfficientNet-Lite


@pytest.mark.parametrize("entry", ENTRIES)
def test_brackets_match_and_no_field_is_empty(entry: str):
    assert entry.count("{") == entry.count("}")
    assert "None" not in entry and "{}" not in entry


def test_the_cifar_networks_are_in_the_same_paper():
    assert model_info("resnet20_cifar").bibtex == model_info("resnet18").bibtex
