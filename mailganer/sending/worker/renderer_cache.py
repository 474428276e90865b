"""Renderers of the frozen emails that a lane sends, compiled outside of any transaction."""

from ...errors import EmailError
from ...models import Sender
from ..context import SendingContext
from .delivery_renderer import DeliveryRenderer, RenderJob


class RendererCache:
    """The renderers of one lane's turn by frozen email."""

    def __init__(self, context: SendingContext, sender: Sender) -> None:
        self.missing: int | None = None  # the frozen email that has to be compiled first
        self._context, self._sender = context, sender
        self._renderers: dict[int, DeliveryRenderer] = {}
        self._errors: dict[int, EmailError] = {}

    def is_compiled(self, frozen_email_id: int) -> bool:
        """Return whether this frozen email was compiled, if only with an error; if not, it is ``missing``."""
        compiled = frozen_email_id in self._renderers or frozen_email_id in self._errors
        self.missing = None if compiled else frozen_email_id
        return compiled

    def error(self, frozen_email_id: int) -> EmailError | None:
        """Return why a frozen email cannot be compiled, or None."""
        return self._errors.get(frozen_email_id)

    def renderer(self, frozen_email_id: int) -> DeliveryRenderer:
        """Return the renderer of a frozen email that was compiled without an error."""
        return self._renderers[frozen_email_id]

    def compile_missing(self) -> None:
        """Compile the ``missing`` email, while nothing is locked.

        If it cannot be compiled, its campaign is paused when its next window would be opened.
        """
        frozen_email_id, self.missing = self.missing, None
        if frozen_email_id is None:
            return
        url = self._context.public_url
        with self._context.readers() as session:
            job = RenderJob.read(
                session,
                frozen_email_id=frozen_email_id,
                sender=self._sender,
                public_url=url,
                now=self._context.now(),
            )
        try:
            self._renderers[frozen_email_id] = DeliveryRenderer(job, url)
        except EmailError as error:
            self._errors[frozen_email_id] = error
