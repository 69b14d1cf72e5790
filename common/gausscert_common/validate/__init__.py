"""What is wrong with a bundle or a set: the rules, pure. Bytes, passwords and time in, findings out.

`catalogue` has every kind of finding with its meaning and remedy.
"""

from gausscert_common.validate.judge import (
    DEFAULT_THRESHOLD_DAYS,
    bundle,
    certificate_set,
    factor_files,
    same_cas,
)

__all__ = ["DEFAULT_THRESHOLD_DAYS", "bundle", "certificate_set", "factor_files", "same_cas"]
