"""Where a rule does not hold, and why. Keep it short: an entry that nothing needs is a finding."""

# (path, rule): reason
EXCEPTIONS = {}
