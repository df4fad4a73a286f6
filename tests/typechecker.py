"""The checker of annotations that tests/conftest.py hooks into imports."""

import beartype

# An int is good enough where a float is asked for, as in Python's own typing.
check = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))
