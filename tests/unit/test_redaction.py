import pytest

from ghostpen.redaction import find_secrets, redact


def test_secrets_are_the_long_values_of_variables_named_so() -> None:
    environ = {
        "WANDB_API_KEY": "0123456789",
        "hf_token": "hf_abcdefgh",
        "MY_PASSWORD": "short",
        "HOME": "/home/someone",
        "TOKENIZERS_PARALLELISM": "true",
    }
    assert find_secrets(environ) == ("hf_abcdefgh", "0123456789")


def test_settings_that_say_where_secrets_are_hold_none() -> None:
    """Else a path /ghostpen would be taken out of the image's name, too."""
    environ = {"GHOSTPEN_SECRETS_PATH": "/ghostpen", "GHOSTPEN_SECRETS_NAMES": '["WANDB_API_KEY"]'}
    assert find_secrets(environ) == ()
    assert find_secrets({"GHOSTPEN_SECRETS_TOKEN": "0123456789", "GHOSTPEN_API_KEY": "abcdefghij"}) == (
        "0123456789",
        "abcdefghij",
    )


@pytest.mark.parametrize("names", ['["COMET_AUTH", "MINE"]', "COMET_AUTH MINE"], ids=["a setting", "a container"])
def test_variables_that_a_deployment_hands_over_as_secrets_are_some_whatever_their_name(names: str) -> None:
    environ = {"GHOSTPEN_SECRETS_NAMES": names, "COMET_AUTH": "0123456789", "COMET_AUTH_URL": "https://comet"}
    assert find_secrets(environ) == ("0123456789",)


def test_secret_of_several_lines_is_hidden_in_each() -> None:
    secrets = find_secrets({"DEPLOY_KEY": "-----BEGIN-----\nabcdefghijkl\n---END---\n"})
    assert redact("so abcdefghijkl is it", secrets) == "so *** is it"


def test_secret_within_another_leaves_nothing_of_it() -> None:
    secrets = find_secrets({"A_KEY": "12345678", "B_KEY": "12345678-and-more"})
    assert redact("x 12345678-and-more y 12345678", secrets) == "x *** y ***"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:pass@host/x", "https://***@host/x"),
        ("https://host/x and you@host", "https://host/x and you@host"),
    ],
)
def test_login_of_a_url_is_hidden(text: str, expected: str) -> None:
    assert redact(text, ()) == expected
