"""Lists, page by page."""


def pages(call, request, *sizes):
    """The pages of a list: of these sizes, the last of them again and again."""
    sizes, request = list(sizes), _copy(request)
    while True:
        request.page_size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        answer = call(request)
        (field,) = (field for field in answer.DESCRIPTOR.fields if field.is_repeated)
        yield list(getattr(answer, field.name))
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


def everything(call, request, *sizes):
    """The whole list."""
    return [item for page in pages(call, request, *sizes or [0]) for item in page]


def token(call, request):
    """The token after the first item of a longer list."""
    request = _copy(request)
    request.page_size = 1
    answer = call(request)
    assert answer.next_page_token
    return answer.next_page_token


def _copy(message):
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
