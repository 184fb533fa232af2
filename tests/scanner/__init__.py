"""checkov over the stacks: the converter, the scanner, the waivers."""
