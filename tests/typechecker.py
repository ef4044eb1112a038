"""The run-time checker that the tests put behind every shape annotation; users never pay for it."""

from beartype import BeartypeConf, beartype

typechecked = beartype(conf=BeartypeConf(is_pep484_tower=True))
