"""resmom recipes [--json] · resmom recipes show NAME [--json]"""

from collections.abc import Callable

from resmom.commands import print_json
from resmom.errors import UserError

USAGE = (
    "usage: resmom recipes [--json]          list them\n"
    "       resmom recipes show NAME [--json]    one, with its header and every field; --json leaves the header out"
)


def main(arguments: list[str]) -> int:
    """List the recipes, or show one as JSON."""
    match arguments:
        case [] | ["--json"]:
            _list(as_json=bool(arguments))
        case ["-h" | "--help", *_] | ["show", "-h" | "--help", *_]:
            print(USAGE)
        case ["show"]:
            raise UserError("name the recipe to show, as in `resmom recipes show NAME` (`resmom recipes` lists all)")
        case ["show", name] | ["show", name, "--json"] | ["show", "--json", name]:
            _show(name, header=len(arguments) == 2)
        case ["show", _, other, *_]:
            raise UserError(
                f"`resmom recipes show` shows one recipe, and takes no option but --json; leave '{other}' out"
            )
        case [other, *_]:
            raise UserError(f"there is no '{other}'; it is `resmom recipes`, or `resmom recipes show NAME`")
    return 0


def _list(as_json: bool) -> None:
    from resmom.recipes import RECIPES, TWIN

    about = {name: _header(made)[0] for name, made in RECIPES.items()}
    if as_json:
        print_json(about)
        return
    width = max(map(len, about))
    for name, words in about.items():
        print(f"{name:<{width}}  {words}")
    print(
        f"\nNAME{TWIN} is the same run with residual momentum, where the method has a teacher; "
        "`resmom recipes show NAME` shows one whole."
    )


def _show(name: str, header: bool) -> None:
    from resmom.config import to_json
    from resmom.recipes import RECIPES, base_of, recipe

    run = recipe(name)
    if header:
        for line in _header(RECIPES[base_of(run.recipe)]):
            print(f"# {line.strip()}".rstrip())
    print_json(to_json(run))


def _header(made: Callable[[], object]) -> list[str]:
    """The lines of a recipe's header: what it is, then its source, command and result."""
    return (made.__doc__ or "").strip().splitlines()
