# One image for web, worker, beat and every command; docker-compose.yml selects the command.

FROM python:3.12-slim AS build
RUN python -m venv /venv
WORKDIR /src
# The locked packages come first: they seldom change, so this layer stays cached.
COPY requirements requirements
RUN /venv/bin/pip install --no-cache-dir --only-binary :all: --no-deps --require-hashes -r requirements/run.txt
COPY setup.py pyproject.toml MANIFEST.in README.md LICENSE ./
COPY mailganer mailganer
# Built with the locked setuptools.
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-index --no-build-isolation .

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
# On SIGTERM workers finish the email in hand.
STOPSIGNAL SIGTERM
ENTRYPOINT ["mailganer"]
CMD ["web"]
