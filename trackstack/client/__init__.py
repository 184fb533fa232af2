"""For the machine that trains or runs CI: needs neither mlflow nor pulumi."""
