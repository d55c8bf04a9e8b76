"""The guarded switch of one host: runner, protocol, attempt, outcome, checks from the deployer."""
