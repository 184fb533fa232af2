"""The host on this machine: evaluates the Pulumi program, then makes its stack run here."""
