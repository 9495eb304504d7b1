# A new Django project with this app from a wheel, as the README says: nothing is read from the repository there.

# make_site WHEEL: in the current folder, with tables, a user and an application of each token type.
make_site() {
    python3 -m venv venv
    venv/bin/pip install -q "$1"
    venv/bin/django-admin startproject mysite .
    openssl genrsa -out signing-key.pem 2048 2> /dev/null
    cat >> mysite/settings.py << 'SETTINGS'

import oauth_binding

INSTALLED_APPS += ["oauth2_provider", "oauth_binding"]

OAUTH2_PROVIDER = {
    **oauth_binding.OAUTH2_PROVIDER_ENTRIES,
    "SCOPES": {"read": "Read your data"},
    "OIDC_RSA_PRIVATE_KEY": (BASE_DIR / "signing-key.pem").read_text(),
    "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": False,
}
LOGIN_URL = "admin:login"
DATABASES["default"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE"}
SETTINGS
    cat > mysite/urls.py << 'URLS'
from django.contrib import admin
from django.urls import include, path
from oauth_binding.urls import metadata_urlpatterns

urlpatterns = [
    path("admin/", admin.site.urls),
    path("oauth2/", include("oauth_binding.urls")),
    *metadata_urlpatterns,
]
URLS
    bring_up_to_date
    venv/bin/python manage.py shell --no-imports -c "
from django.contrib.auth.models import User
from oauth2_provider.models import Application
User.objects.create_user('alice', password='correct horse battery staple')
for token_type in ('opaque', 'jwt'):
    Application.objects.create(
        name=token_type, client_id=token_type, client_secret='a secret of some length', client_type='confidential',
        authorization_grant_type='password', token_type=token_type, token_binding_type='client-request')
"
}

bring_up_to_date() {
    venv/bin/python manage.py migrate --verbosity 0
    venv/bin/python manage.py check --database default --fail-level WARNING
    venv/bin/python manage.py makemigrations --check --dry-run
}

# with_server PROGRAM [ARGUMENT...]: runs a program of Python that has the site's address, and `post` and `login`.
with_server() {
    local port server
    port=$(venv/bin/python -c "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1])")
    venv/bin/python manage.py runserver --noreload "127.0.0.1:$port" > server.log 2>&1 &
    server=$!
    { cat << 'CLIENT'; cat "$1"; } > client.py
import base64
import json
import sys
import time
import urllib.parse
import urllib.request

site = f"http://127.0.0.1:{sys.argv[1]}"


def post(path, client, **form):
    credentials = base64.b64encode(f"{client}:a secret of some length".encode()).decode()
    request = urllib.request.Request(
        f"{site}/oauth2/{path}",
        urllib.parse.urlencode(form).encode(),
        {"Authorization": f"Basic {credentials}"},
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def login(client, binding):
    form = {"grant_type": "password", "username": "alice", "password": "correct horse battery staple"}
    return post("token", client, tokenBindingId=binding, **form)


for _ in range(60):
    try:
        urllib.request.urlopen(f"{site}/oauth2/.well-known/jwks.json").close()
        break
    except OSError:
        time.sleep(0.5)

CLIENT
    venv/bin/python client.py "$port" "${@:2}" || { cat server.log; kill $server; exit 1; }
    kill $server
    wait $server || true
}
