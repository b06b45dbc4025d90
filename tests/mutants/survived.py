"""Mutants of kinds that once survived: each stands for its kind, which a law or a table of all members catches now."""

from tests.mutants.mutant import Layer, one

_F = "functions/agent_stack"
_A, _D, _T, _DOMAIN = f"{_F}/adapters", f"{_F}/dispatcher", f"{_F}/tracker", f"{_F}/domain"
_LEDGER = "tests/contract/test_ledger.py"
_HTTP = "tests/unit/adapters/test_bounded_http.py"
_NUMBERS = "tests/unit/test_constants.py"
_TRUST = "tests/infra/test_trust.py"
_ENDS = "tests/unit/tracker/test_terminate.py"
_STANDBY = "tests/unit/dispatcher/test_replenish.py"
_U, _C = Layer.UNIT, Layer.CONTRACT

MUTANTS = (
    one(
        _C,
        "take a connection that was never made for a lost answer",
        f"{_A}/aws.py",
        "NOT_SENT = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)",
        "NOT_SENT = (EndpointConnectionError,)",
        "tests/contract/test_doubt.py",
        "-k",
        "surely_did_nothing",
    ),
    one(_C, "write an intent over another", f"{_A}/dynamodb/ledger.py",
        'put(self.table.name, values, condition="attribute_not_exists(pk)"),\n                counting',
        "put(self.table.name, values),\n                counting",
        _LEDGER, "-k", "written_once"),
    one(_C, "write what EC2 taught once under each lease", f"{_A}/dynamodb/ledger.py",
        "OR fence <= :fence", "OR fence < :fence", _LEDGER, "-k", "what_ec2_taught"),
    one(_U, "let a handshake take its time", f"{_A}/bounded_http.py",
        "server_hostname, self._total.left(timeout))", "server_hostname, timeout)", _HTTP),
    one(_U, "leave what goes through a proxy unbounded", f"{_A}/bounded_http.py",
        "(client._transport, *client._mounts.values())", "(client._transport,)", _HTTP),
    one(_U, "lose a field of a run on its way to the table", f"{_A}/dynamodb/items.py",
        '"told_before": run.notices_sent_before or None', '"told_before": None',
        "tests/unit/adapters/test_items.py"),
    one(_U, "take the age of a lease from its answer", f"{_F}/lease_loop.py",
        "tenure.held, tenure.renewed_at = renewed, asked_at",
        "tenure.held, tenure.renewed_at = renewed, self.clock.monotonic()",
        "tests/unit/test_lease_loop.py", "-k", "as_old_as"),
    one(_U, "give a run's place away while one capacity type fails", f"{_D}/admission.py",
        "return all((one := self.memory.backoff", "return any((one := self.memory.backoff",
        "tests/unit/dispatcher/test_admit.py", "-k", "gives_its_place"),
    one(_U, "release a job that Buildkite says nothing of", f"{_D}/reserve.py",
        "if run.job_id in answer.not_reserved]", "if run.job_id not in answer.reserved]",
        "tests/unit/dispatcher/test_reserve.py", "-k", "says_nothing"),
    one(_U, "launch VMs that would not find their program", f"{_D}/launch.py",
        " and self.program.done(cycle.now)", "", "tests/unit/dispatcher/test_launch.py", "-k", "program"),
    one(_U, "fail jobs of a class that only looks wrong", f"{_D}/launch_deadline.py",
        "            and breaker.definite\n", "", "tests/unit/dispatcher/test_launch_deadline.py"),
    one(_U, "bind although the operator paused meanwhile", f"{_D}/bind.py",
        "        pairs = self._permitted(pairs)  #", "        #",
        "tests/unit/dispatcher/test_bind.py", "-k", "pause"),
    one(_U, "count terminated VMs under a quota", f"{_D}/quota_watch.py",
        "up = [vm for vm in vms if vm.state in UP]", "up = list(vms)",
        "tests/unit/dispatcher/test_quota_watch.py"),
    one(_U, "launch VMs to stand by whose boots keep failing", f"{_D}/replenish.py",
        " or (trouble is not None and not trouble.may_launch(cycle.now)):", ":",
        _STANDBY, "-k", "unprepared"),
    one(_U, "blame a class for standby VMs that EC2 took", f"{_D}/standby_troubles.py",
        "if ended.reason != BY_ITSELF or ", "if ", _STANDBY, "-k", "powered_itself_off"),
    one(_U, "let a job choose any market", f"{_DOMAIN}/classes.py",
        "            and capacity_type not in self.allowed_capacity_types\n", "            and False\n",
        "tests/unit/domain/test_classes.py", "-k", "market_of"),
    one(_U, "count characters as bytes", f"{_DOMAIN}/texts.py",
        'def crop_bytes(text: str, limit: int) -> str:\n    """The text in at most that many bytes of UTF-8."""\n'
        '    encoded = text.encode("utf-8", "replace")\n    if len(encoded)',
        'def crop_bytes(text: str, limit: int) -> str:\n    """The text in at most that many bytes of UTF-8."""\n'
        '    encoded = text.encode("utf-8", "replace")\n    if len(text)',
        "tests/unit/domain/test_texts.py"),
    one(_U, "end more VMs at once than the operator allows", f"{_T}/terminate.py",
        "elif len(to_terminate) < self.policy.max_terminations_per_cycle:", "elif True:", _ENDS),
    one(_U, "go on with the run of a VM that EC2 does not end", f"{_T}/terminate.py",
        "                del verdicts[verdict.run.job_id]\n                continue", "                continue",
        _ENDS),
    one(_U, "drop events because half an answer showed no VM", f"{_T}/event_filter.py",
        "        if cycle.described:\n", "        if cycle:\n",
        "tests/unit/tracker/test_event_filter.py", "-k", "half_an_answer"),
    one(_U, "take a part of the jobs' states for all", f"{_T}/job_states.py",
        "        if not answer.errors:", "        if answer.states or not answer.errors:",
        "tests/unit/tracker/test_unnamed_jobs.py", "-k", "part_failed"),
    one(_U, "leave the keys of queues of before at a removal", f"{_F}/removal/deregister.py",
        "{**self.stack_keys.retired(served), **{", "{**{",
        "tests/unit/removal/test_stack_events.py", "-k", "served_before"),
    one(_U, "double a time", f"{_DOMAIN}/unavailable.py",
        "UNAVAILABLE_FOR = timedelta(minutes=3)", "UNAVAILABLE_FOR = timedelta(minutes=6)", _NUMBERS),
    one(_U, "ring an alarm that no value reaches", "infra/observability.yaml",
        "      Threshold: 90\n", "      Threshold: 900\n", _NUMBERS),
    one(Layer.INFRA, "let any rule of the account fill a queue", "template.yaml",
        "{ ArnEquals: { aws:SourceArn: !GetAtt JobsScheduled.Arn } }", '{ ArnEquals: { aws:SourceArn: "*" } }',
        _TRUST),
    one(Layer.INFRA, "let schedules of any account use the role", "template.yaml",
        "            Condition: { StringEquals: { aws:SourceAccount: !Ref AWS::AccountId } }\n", "", _TRUST),
)  # fmt: skip
