"""The flags of `edge-runtime exits`, and what its commands print."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_planning.declared_exits import DeclaredExit
    from edge_runtime.exits.files import ExitFile

_MODEL = "an .onnx file"


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `exits` with its own commands."""
    exits = commands.add_parser("exits", help="list, add or train the exits of an ONNX file")
    kinds = exits.add_subparsers(dest="exits_command", required=True)

    listing = kinds.add_parser("ls", help="list the exits of a file")
    listing.add_argument("model", type=Path, help=_MODEL)
    _add_format(listing)

    adding = kinds.add_parser("add", help="add an exit to a file, or replace the one of the same name")
    adding.add_argument("model", type=Path, help=_MODEL)
    adding.add_argument(
        "--output",
        action="append",
        required=True,
        metavar="TENSOR",
        help="output of the exit, also an inner tensor of the graph; repeat it for an exit with several",
    )
    adding.add_argument(
        "--accuracy", type=float, required=True, help="accuracy on held-out samples, from 0 to 1"
    )
    adding.add_argument(
        "--name", help="name of the exit (default: final for the full model, else its output)"
    )
    adding.add_argument(
        "--final-accuracy",
        type=float,
        metavar="ACCURACY",
        help="accuracy of the full model, which a file without exits needs (default: unchanged)",
    )
    adding.add_argument(
        "--own-names",
        action="store_true",
        help="the outputs answer under their own names and may have other types (default: those of the last)",
    )
    adding.add_argument("-o", type=Path, dest="to", metavar="FILE", help="file to write (default: the model)")
    _add_format(adding)

    training = kinds.add_parser("train", help="train exits of a classifier on labeled samples")
    training.add_argument("model", type=Path, help=_MODEL)
    training.add_argument(
        "--samples", type=Path, required=True, metavar="NPZ", help="NumPy file with inputs and labels"
    )
    training.add_argument(
        "--at",
        action="append",
        default=[],
        metavar="TENSOR",
        help="tensor that the head of an exit reads; can be repeated (default: chosen by accuracy and work)",
    )
    training.add_argument(
        "--most", type=_count, default=3, help="maximum exits if --at is not given (default %(default)s)"
    )
    training.add_argument(
        "--held-out",
        type=_share,
        default=0.25,
        metavar="SHARE",
        help="share of the samples on which accuracies are measured (default %(default)s)",
    )
    training.add_argument("--seed", type=int, default=0, help="of the split (default %(default)s)")
    training.add_argument(
        "-o", type=Path, dest="to", metavar="FILE", help="file to write (default: MODEL-exits.onnx)"
    )
    _add_format(training)


def run(arguments: argparse.Namespace) -> int:
    """Runs one of the commands. Raises EdgeError."""
    match arguments.exits_command:
        case "ls":
            return _list(arguments)
        case "add":
            return _add(arguments)
        case _:
            return _train(arguments)


def _list(arguments: argparse.Namespace) -> int:
    from edge_runtime.exits.files import read

    file = read(arguments.model)
    _show(arguments.format, file, file.exits)
    return 0


def _add(arguments: argparse.Namespace) -> int:
    from edge_runtime.exits.adding import with_exit
    from edge_runtime.exits.files import read, write

    file = read(arguments.model)
    model, exits = with_exit(
        file,
        arguments.output,
        arguments.accuracy,
        name=arguments.name,
        final_accuracy=arguments.final_accuracy,
        own_names=arguments.own_names,
    )
    write(file, model, arguments.to or arguments.model)
    _show(arguments.format, file, exits)
    return 0


def _train(arguments: argparse.Namespace) -> int:
    import orjson

    from edge_runtime.exits.files import read, write
    from edge_runtime.exits.samples import read_samples
    from edge_runtime.exits.training import classifier_output, train

    file = read(arguments.model)
    classes = classifier_output(file).shape[1]
    wanted = file.graph.tensor(file.graph.inputs[0])
    samples = read_samples(arguments.samples, wanted, classes, arguments.held_out, arguments.seed)
    training = train(
        file,
        samples,
        at=arguments.at,
        most=arguments.most,
        seed=arguments.seed,
        report=lambda text: print(f"exits train: {text}", file=sys.stderr, flush=True),
    )
    path = arguments.to or arguments.model.with_name(f"{arguments.model.stem}-exits.onnx")
    write(file, training.model, path)
    if arguments.format == "json":
        sys.stdout.write(f"{orjson.dumps({'file': str(path), **training.document()}).decode()}\n")
    else:
        sys.stdout.write(f"{training.table()}\nwritten to {path}\n")
    return 0


def _show(form: str, file: ExitFile, exits: Sequence[DeclaredExit]) -> None:
    import orjson

    from edge_planning.text_tables import text_table
    from edge_runtime.exits.files import documents

    if form == "json":
        sys.stdout.write(f"{orjson.dumps(documents(exits)).decode()}\n")
        return
    if not exits:
        sys.stdout.write(
            f"no exits listed: the model has one, final, with the outputs {', '.join(file.outputs)}\n"
        )
        return
    whole = max(file.operators_before(exits[-1].outputs), 1)
    rows = [("exit", "outputs", "tensors", "accuracy", "operators")]
    for each in exits:
        tensors = [file.graph.tensor(name) for name in each.outputs]
        rows.append(
            (
                each.name,
                ", ".join(each.outputs),
                ", ".join(f"{t.datatype} {list(t.shape)}" for t in tensors),
                "" if each.accuracy is None else f"{each.accuracy:g}",
                f"{file.operators_before(each.outputs)} of {whole}",
            )
        )
    sys.stdout.write(f"{text_table(rows, right=(3, 4), ruled=True)}\n")


def _add_format(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--format", choices=("table", "json"), default="table", help="output format (default %(default)s)"
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 64):
        raise argparse.ArgumentTypeError(f'"{text}" is not a number of exits: write 1 to 64')
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is not a number: write a share such as 0.25') from None
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is not between 0 and 1: write a share such as 0.25')
    return share
