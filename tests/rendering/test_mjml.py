"""Emails written as MJML."""

import pytest

from mailganer.errors import EmailError
from mailganer.rendering import Source, compile_email, safe_render

from .conftest import URLS

EMAIL = """<mjml>
  <mj-body>
    <mj-section>
      {% for city in ["Riga", "Oslo"] %}
      <mj-column><mj-text color="red">{{ city }} &amp; {{ name|default("you > me") }}</mj-text></mj-column>
      {% endfor %}
    </mj-section>
    {% if vip == "yes" %}<mj-section><mj-column>
    <mj-button href="https://e.com/{{ code }}">Go</mj-button>
    </mj-column></mj-section>{% endif %}
    <mj-section><mj-column><mj-text><a href="{{ unsubscribe_url }}">bye</a></mj-text></mj-column></mj-section>
  </mj-body>
</mjml>
"""


def test_mjml_becomes_html_with_its_template_code_in_place() -> None:
    email = compile_email(Source("x", "Read me", EMAIL))
    assert email.links == ("https://e.com/{{ code }}",)
    assert email.variables == {"name", "vip", "code", "unsubscribe_url"}
    plain = safe_render(email, {"name": "<Ann>"}, urls=URLS)
    assert "<mj-" not in plain.html
    assert "Riga &amp; &lt;Ann&gt;" in plain.html
    assert "Oslo &amp; &lt;Ann&gt;" in plain.html
    assert ">Go<" not in plain.html
    assert "Riga & <Ann>" in plain.text
    assert "Read me" in plain.html
    for_vips = safe_render(email, {"vip": "yes"}, urls=URLS)
    assert f'href="{URLS.click}/1"' in for_vips.html
    assert "Oslo &amp; you &gt; me" in for_vips.html
    assert f'href="{URLS.unsubscribe}"' in for_vips.html


def test_mjml_fetches_no_fonts_and_no_files() -> None:
    assert "fonts.googleapis.com" not in compile_email(Source("x", html=EMAIL)).html
    with pytest.raises(EmailError, match="MJML"):
        compile_email(Source("x", html='<mjml><mj-body><mj-include path="/etc/passwd"/></mj-body></mjml>'))


def test_mjml_that_is_broken_is_said() -> None:
    with pytest.raises(EmailError, match="MJML") as caught:
        compile_email(Source("x", html="<mjml><mj-body><mj-section></mj-body></mjml>"))
    assert caught.value.field == "html"


def test_a_mistake_in_template_code_names_the_line_of_the_mjml() -> None:
    with pytest.raises(EmailError, match="no filter “nope”") as caught:
        compile_email(Source("x", html=EMAIL.replace("{{ code }}", "{{ code|nope }}")))
    assert caught.value.line == 9
