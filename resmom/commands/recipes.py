"""resmom recipes [--json] · resmom recipes show NAME [--json]"""

from resmom.commands import print_json
from resmom.config import to_json
from resmom.errors import UserError
from resmom.recipes import RECIPES, TWIN, base_of, recipe

USAGE = (
    "usage: resmom recipes [--json]          list them\n"
    "       resmom recipes show NAME [--json]    one, with its header and every field; --json leaves the header out"
)


def main(arguments: list[str]) -> int:
    """List the recipes, or show one as JSON."""
    match arguments:
        case []:
            width = max(map(len, RECIPES))
            for name in RECIPES:
                print(f"{name:<{width}}  {_header(name)[0]}")
            print(
                f"\nNAME{TWIN} is the same run with residual momentum, where the method has a teacher; "
                "`resmom recipes show NAME` shows one whole."
            )
        case ["--json"]:
            print_json({name: _header(name)[0] for name in RECIPES})
        case ["-h" | "--help", *_] | ["show", "-h" | "--help", *_]:
            print(USAGE)
        case ["show"]:
            raise UserError("name the recipe to show, as in `resmom recipes show NAME` (`resmom recipes` lists all)")
        case ["show", name] | ["show", name, "--json"] | ["show", "--json", name]:
            run = recipe(name)
            if len(arguments) == 2:
                for line in _header(base_of(run.recipe)):
                    print(f"# {line.strip()}".rstrip())
            print_json(to_json(run))
        case ["show", _, other, *_]:
            raise UserError(
                f"`resmom recipes show` shows one recipe, and takes no option but --json; leave '{other}' out"
            )
        case [other, *_]:
            raise UserError(f"there is no '{other}'; it is `resmom recipes`, or `resmom recipes show NAME`")
    return 0


def _header(name: str) -> list[str]:
    """The lines of a recipe's header: what it is, then its source, command and result."""
    return (RECIPES[name].__doc__ or "").strip().splitlines()
