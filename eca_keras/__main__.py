"""`python -m eca_keras` is `eca-keras`."""

import sys

from eca_keras.cli import main

if __name__ == "__main__":
    sys.exit(main())
