"""Identifiers as types: two ids of different things can never be swapped by accident."""

from typing import NewType

JobId = NewType("JobId", str)  # Buildkite's job UUID
QueueKey = NewType("QueueKey", str)  # key of a cluster queue, such as "default"
StackKey = NewType("StackKey", str)  # what we register as, unique in the organisation
ClassName = NewType("ClassName", str)  # a VM shape the operator listed
InstanceId = NewType("InstanceId", str)  # EC2's i-…
InstanceArn = NewType("InstanceArn", str)  # the key of the instance's mailbox
IntentId = NewType("IntentId", str)  # one launch request; EC2's client token and the launch tag
Bucket = NewType("Bucket", str)  # a vCPU quota, as capacity_type:group, such as "on-demand:standard"
