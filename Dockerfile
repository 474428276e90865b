# One image for web, worker, beat and every command; docker-compose.yml says which is which.

FROM python:3.12-slim AS build
RUN python -m venv /venv
WORKDIR /src
# The dependencies first: they change seldom, and this layer is kept while they do not. The empty package that they
# are installed for goes at once: pip would take what it has built of it, being newer, for the real one.
COPY setup.py pyproject.toml ./
RUN mkdir mailganer && touch mailganer/__init__.py && /venv/bin/pip install --no-cache-dir . \
    && rm -rf mailganer build *.egg-info
COPY MANIFEST.in README.md LICENSE ./
COPY mailganer mailganer
RUN /venv/bin/pip install --no-cache-dir --no-deps --force-reinstall .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/mailganer --create-home mailganer
COPY --from=build /venv /venv
COPY production.ini /etc/mailganer/production.ini
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MAILGANER_INI=/etc/mailganer/production.ini \
    MAILGANER_DATA_DIR=/var/lib/mailganer \
    MAILGANER_LISTEN=0.0.0.0:6543
USER mailganer
WORKDIR /var/lib/mailganer
VOLUME /var/lib/mailganer
EXPOSE 6543
# Workers finish the letter in hand on SIGTERM.
STOPSIGNAL SIGTERM
ENTRYPOINT ["mailganer"]
CMD ["web"]
