"""The policy pack: rules over plain AWS resources, for this program and for any other."""
