"""What a removal of the CloudFormation stack does: terminates the VMs and deregisters the stack keys."""
