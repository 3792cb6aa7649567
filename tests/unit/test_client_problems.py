"""What a client says of answers that are no problem documents."""

import httpx

from secateur.problems import NotASecateurServer, error_of


def test_a_signed_link_that_fails_is_named_without_its_signature() -> None:
    link = "http://store.example/bucket/model.safetensors?X-Amz-Signature=secret"
    refused = httpx.Response(403, request=httpx.Request("GET", link), content=b"<Error/>")
    error = error_of(refused)
    assert isinstance(error, NotASecateurServer)
    assert "http://store.example/bucket/model.safetensors answered 403" in error.message
    assert "secret" not in str(error)
