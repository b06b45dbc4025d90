"""Which texts count as credentials, in answers of Buildkite and in what a VM says; and which words do not."""

import pytest

from agent_stack.adapters.stacks_api.redaction import redacted, without_credentials

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJqb2IifQ.c2lnbmF0dXJl-_c2ln"
SECRETS = {
    f"the agent said {JWT}": (JWT, "c2lnbmF0dXJl"),
    f"Authorization: Bearer {JWT}": (JWT, "c2lnbmF0dXJl"),
    "cut off: eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJqb2": ("eyJhbGciOiJSUzI1NiJ9", "eyJzdWIiOiJqb2"),
    "GET https://host/path?token=s3cretvalue&x=1": ("s3cretvalue",),
    "BUILDKITE_AGENT_ACCESS_TOKEN=secretvalue": ("secretvalue",),
    "agent start --token=secretvalue": ("secretvalue",),
    "agent start --token secretvalue9": ("secretvalue9",),
    "token = secretvalue": ("secretvalue",),
    'env {"TOKEN":"secretvalue"}': ("secretvalue",),
    'env {"GITHUB_TOKEN": "secret value of words"}': ("secret", "words"),
    "env {'token': 'secretvalue'}": ("secretvalue",),
    r"said {\"TOKEN\":\"secretvalue\"} in JSON": ("secretvalue",),
    "Token: secretvalue9": ("secretvalue9",),
    "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG": ("wJalr", "K7MDENG"),
    '{"password": "secretvalue"}': ("secretvalue",),
    "bkjat_secretvalue": ("secretvalue",),
    "cloned https://bot:secretvalue@git.example/x": ("secretvalue",),
    "cloned https://x0secretvalue@git.example/x": ("secretvalue",),
    "with ghs_secretvalue0 and glpat-secretvalue0": ("secretvalue0",),
    "by AKIAIOSFODNN7EXAMPLE": ("IOSFODNN7EXAMPLE",),
    "GET https://a.blob.example/x?sv=1&sig=secretvalue%3D&x=1": ("secretvalue",),
    "GET https://b.example/x?X-Amz-Signature=secretvalue": ("secretvalue",),
    "DB_PASSWD=secretvalue API_KEY=secretvalue": ("secretvalue",),
    "-----BEGIN RSA PRIVATE KEY-----\nsecretvalue\n-----END RSA PRIVATE KEY-----": ("secretvalue",),
    "cut off: -----BEGIN PRIVATE KEY-----\nsecretvalue": ("secretvalue",),
    r'{"secret":"-----BEGIN KEY-----\nMIIEsecret\nvalue"}': ("BEGIN", "MIIE", "value"),
    r'{"password":"ab\"cd1234", "other": 1}': ("ab", "cd1234"),
    r'{"password":"ends with \\", "other": 1}': ("ends",),
    r"{'password': 'ab\'cd1234'}": ("ab", "cd1234"),
    r"said {\"password\":\"one\\ntwo\\\"three\"} in JSON": ("one", "two", "three"),
    r"said {\\\"token\\\":\\\"one\\\\ntwo\\\"} in JSON in JSON": ("one", "two"),
    "cloning https://someone:pa55word@github.com/acme/app failed": ("someone", "pa55word"),
    "cloning https://ghp_secretvalue@github.com/acme/app failed": ("secretvalue",),
    "proxy http://user:p@ss@10.0.0.1:3128 refused": ("user", "p@ss", "ss@"),
    "redis://:pa55word@cache:6379": ("pa55word",),
}
SHOWN = {
    r'{"password":"ab\"cd1234", "other": 1}': r'{"password":"<hidden>", "other": 1}',
    r'{"password":"ends with \\", "other": 1}': r'{"password":"<hidden>", "other": 1}',
    r"said {\"password\":\"one\\ntwo\"} in JSON": r"said {\"password\":\"<hidden>\"} in JSON",
    "cloning https://someone:pa55word@github.com/app failed": "cloning https://<hidden>@github.com/app failed",
}
HARMLESS = (
    "AgentCredential=job-token: this endpoint issues none",
    "The agent token is missing, wrong or expired",
    "token: expired since yesterday",
    "Set AgentCredential to agent-token, or use an endpoint of the current dialect.",
    "tokens=3 were issued",
    "eyJ is how it begins",
    "cloned https://bot@git.example/x and ssh://git@git.example/x",
    "arn:aws:secretsmanager:eu-central-1:123456789012:secret:ci-key-AbC123",
    "GET https://git.example:8443/a@b of commit 0123456789abcdef0123456789abcdef01234567",
    "cloning ssh://git@github.com/acme/app and git@github.com:acme/app",
    "GET https://api.buildkite.com/v3/stacks/ci@1 at 10:30, mail ops@example.org",
    "No agent could be started in 3 attempts: i-0123456789abcdef0 tokenized=nothing",
)


@pytest.mark.parametrize("text", SECRETS)
def test_what_looks_like_a_credential_is_hidden(text: str) -> None:
    for hide in (redacted, without_credentials):
        hidden = hide(text)
        assert not [secret for secret in SECRETS[text] if secret in hidden]
        assert "<hidden>" in hidden


@pytest.mark.parametrize("text", HARMLESS)
def test_words_for_people_stay_as_they_are(text: str) -> None:
    assert without_credentials(text) == text


@pytest.mark.parametrize("text", SHOWN)
def test_what_stands_around_a_credential_is_shown(text: str) -> None:
    assert without_credentials(text) == redacted(text) == SHOWN[text]
    assert without_credentials(SHOWN[text]) == SHOWN[text]


def test_what_is_hidden_stays_hidden_and_the_name_before_it_is_shown() -> None:
    once = without_credentials("run with MY_TOKEN=abc;and OTHER=1")
    assert once == "run with MY_TOKEN=<hidden>;and OTHER=1"
    assert without_credentials(once) == once
