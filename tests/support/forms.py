"""Forms of WebTest pages."""


def submit(page, path, status=None, **fields):
    """Submit the form of the page that posts to ``path``, and return the response."""
    form = next(form for form in page.forms.values() if form.action == path)
    for name, value in fields.items():
        form[name] = value
    return form.submit(status=status)
