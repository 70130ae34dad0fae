"""What the functions refuse by themselves where shapes in signatures are not enforced: in production."""

import subprocess
import sys


def test_different_shapes_do_not_broadcast_into_a_number() -> None:
    code = (
        "import torch; from resmom.diagnose.gap import gap\n"
        "try: gap(torch.ones(1, 3), torch.ones(4, 3))\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "(1, 3) and (4, 3)" in done.stdout
