"""Commands about the zoo: models, summary, import."""

import shlex
from pathlib import Path
from typing import Any, Literal

from depthwise.cli.app import AsJson, Overwrite, app, print_json, terminal_of
from depthwise.errors import UserError, require


@app.command(sort_key=12)
def models(
    pattern: str = "*", /, *, sort: Literal["params", "macs", "year", "top1"] | None = None, json_: AsJson = False
) -> int:
    """List the networks: parameters, multiply-adds, the paper's accuracy and that of the best public weights.

    Example: depthwise models "mobilenet_v3*" --sort top1

    Parameters
    ----------
    pattern
        Names to list, with * and ?.
    sort
        By parameters, multiply-adds or year, rising, or by the best public weights' top-1, falling; else as the papers
        came.
    """
    require("torch", "train", "listing the networks")
    from depthwise.report.zoo import entries, to_json, zoo_table

    rows = entries(pattern, sort)
    if not rows:
        raise UserError(f"no network's name matches {pattern!r}; all names: depthwise models")
    if json_:
        print_json([to_json(row) for row in rows], indent=1)
    else:
        print(zoo_table(rows) + "\n\nNext: depthwise summary NAME")
    return 0


@app.command(sort_key=13)
def summary(
    name: str,
    /,
    *,
    image_size: int | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    set: tuple[str, ...] = (),
    widths: str | None = None,
    sizes: str | None = None,
    svg: Path | None = None,
    json_: AsJson = False,
    overwrite: Overwrite = False,
) -> int:
    """Show a network layer by layer: output shape, parameters, multiply-adds. Or draw it; or cost widths and sizes.

    Example: depthwise summary mobilenet_v2 --image-size 160 --set width=0.6

    Parameters
    ----------
    name
        Network; all names: depthwise models.
    image_size
        Side of the input, px; by default the paper's.
    set
        Option of the network as NAME=VALUE; may be given several times.
    widths
        Print what these widths cost instead, e.g. 0.25,0.5,0.75,1.0; for families with a width.
    sizes
        Print what pictures of these sides cost instead, e.g. 128,160,192,224; for families with a width.
    svg
        File to draw the network into.
    """
    require("torch", "train", "building a network")
    from depthwise.models.create import parse_options
    from depthwise.models.registry import model_info

    spec = model_info(name)
    options = parse_options(spec, set)
    if widths is not None or sizes is not None:
        if svg is not None or image_size is not None:
            raise UserError("--widths and --sizes print a table of costs; leave --svg and --image-size out")
        return _costs(spec.name, widths, sizes, json_, num_classes=num_classes, in_channels=in_channels, **options)
    from depthwise.models.summary import summary_of
    from depthwise.report.tables import summary_table

    rows = summary_of(name, image_size, num_classes, in_channels, **options)
    if svg is not None:
        from depthwise.report.drawing import draw_to

        draw_to(svg, name, image_size, num_classes, in_channels, overwrite=overwrite, **options)
    if json_:
        print_json([row._asdict() for row in rows], indent=1)
    elif svg is not None:
        print(f"Written: {svg}\n\nNext: depthwise train PHOTOS --model {name}")
    else:
        print(f"{spec.name} ({spec.paper})\n\n{summary_table(rows)}\n\nNext: depthwise train PHOTOS --model {name}")
    return 0


def _costs(name: str, widths: str | None, sizes: str | None, as_json: bool, **options: Any) -> int:
    from depthwise.models.costs import cost_grid, dial_of
    from depthwise.models.options import parse_numbers
    from depthwise.models.registry import model_info
    from depthwise.report.tables import cost_table

    dial = dial_of(model_info(name))
    sides = [int(side) for side in parse_numbers("--sizes", sizes, int)]
    grid = cost_grid(name, parse_numbers("--widths", widths, float), sides, **options)
    if as_json:
        print_json([cost._asdict() for cost in grid], indent=1)
        return 0
    print(f"{name}: millions of multiply-adds by width and side of the picture; parameters\n\n{cost_table(grid)}")
    first = f"--set {dial}={grid[0].width:g} --image-size {grid[0].image_size}"
    print(f"\nNext: depthwise train PHOTOS --model {name} {first}")
    return 0


@app.command(name="import", sort_key=14)
def import_(
    name: str,
    source: str,
    /,
    *,
    out: Path,
    origin: str | None = None,
    classes: Path | None = None,
    set: tuple[str, ...] = (),
    overwrite: Overwrite = False,
) -> int:
    """Make a model file of other people's weights: torchvision's, timm's, Keras', or those of an installed package.

    Example: depthwise import efficientnet_lite0 package --out lite0.safetensors

    Parameters
    ----------
    name
        Network; all names: depthwise models.
    source
        package, torchvision, timm, one of their weights such as timm:tf_efficientnet_b0.ns_jft_in1k, or a file
        (.safetensors, .pth, .h5).
    out
        The model file to write; predict and evaluate read it.
    origin
        Whose weights a file holds, where its names leave doubt: torchvision, timm:NAME, keras, package:imagenet, as-is.
    classes
        Text file with the classes' names, one a line; by default ImageNet's where there are 1000.
    set
        Option of the network as NAME=VALUE; may be given several times.
    """
    require("torch", "train", "importing weights")
    from depthwise.workflows.importing import import_model

    card = import_model(
        name, source, out, origin=origin, classes=classes, settings=set, overwrite=overwrite, console=terminal_of()
    )
    whose = card.origin or "depthwise"
    print(f"{card.model} with {whose} weights, {len(card.classes):,} classes, {card.geometry.image_size} px: {out}")
    print(f"Next: depthwise predict {shlex.quote(str(out))} PHOTO...")
    return 0
