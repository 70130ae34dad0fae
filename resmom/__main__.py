"""`python -m resmom` is `resmom`."""

from resmom.cli import main

if __name__ == "__main__":
    main()
