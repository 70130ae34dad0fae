"""resmom recipes · resmom recipes show NAME"""

from resmom.commands import print_json
from resmom.config import to_json
from resmom.errors import UserError
from resmom.recipes import RECIPES, TWIN, base_of, recipe

USAGE = (
    "usage: resmom recipes          list them\n       resmom recipes show NAME    one, with its header and every field"
)


def main(arguments: list[str]) -> int:
    """List the recipes, or show one as JSON."""
    match arguments:
        case []:
            width = max(map(len, RECIPES))
            for name, function in RECIPES.items():
                print(f"{name:<{width}}  {(function.__doc__ or '').strip().splitlines()[0]}")
            print(
                f"\nNAME{TWIN} is the same run with residual momentum, where the method has a teacher; "
                "`resmom recipes show NAME` shows one whole."
            )
        case ["-h" | "--help", *_] | ["show", "-h" | "--help", *_]:
            print(USAGE)
        case ["show"]:
            raise UserError("name the recipe to show, as in `resmom recipes show NAME` (`resmom recipes` lists all)")
        case ["show", name]:
            run = recipe(name)
            for line in (RECIPES[base_of(run.recipe)].__doc__ or "").strip().splitlines():
                print(f"# {line.strip()}".rstrip())
            print_json(to_json(run))
        case ["show", _, other, *_]:
            raise UserError(f"`resmom recipes show` shows one recipe, and takes no options; leave '{other}' out")
        case [other, *_]:
            raise UserError(f"there is no '{other}'; it is `resmom recipes`, or `resmom recipes show NAME`")
    return 0
