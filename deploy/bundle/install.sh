#!/bin/sh
# Installs the software of this bundle on the machine it lies on, by hash and without a network:
#   sh install.sh [DIRECTORY]     /opt/gausscert by default; $PYTHON to choose a Python 3.11 or newer
# As `gausscert agents deploy` does it: releases/RELEASE, and the link `current` to it. Starts nothing.
set -eu
umask 022
# OM's libraries, from the profile of the cluster's user. What starts the agent has none of it.
unset PYTHONPATH PYTHONHOME LD_LIBRARY_PATH
bundle=$(cd "$(dirname "$0")" && pwd)
software=${1:-/opt/gausscert}
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "$python is too old or missing: gausscert needs Python 3.11 or newer; PYTHON=/path/to/python sh install.sh" >&2
    exit 2
}
version=$(sed -n 's/^gausscert==\([^ ;\\]*\).*/\1/p' "$bundle/requirements.txt")
pip=$(sed -n 's/^pip==\([^ ;\]*\).*/\1/p' "$bundle/requirements.txt")
digest=$(sha256sum <"$bundle/requirements.txt" | cut -c 1-12)
release=$version-$digest
target=$software/releases/$release

# An upgrade of the operating system may have taken away the Python of a release that is there: 1 is a traceback,
# 126 and 127 that there is no interpreter.
runs() {
    "$target/bin/gausscert-agent" version >/dev/null 2>&1 || case $? in 1 | 126 | 127) return 1 ;; esac
}

if [ ! -e "$target/.complete" ] || ! runs; then
    # The pattern is not an argument: grep would find itself.
    if printf '%s\n' "$target/bin/" | grep -qsaF -f - /proc/[0-9]*/cmdline; then
        echo "something runs of $target, which has to be installed anew: end it, or restart the machine; then run this again" >&2
        exit 2
    fi
    mkdir -p "$software/releases"
    rm -rf "$target"
    trap 'rm -rf "$target"' EXIT
    "$python" -I -m venv --without-pip "$target"
    # pip runs from its wheel: a node's Python need not have one.
    "$target/bin/python" -I -c 'import sys, runpy
sys.path.insert(0, sys.argv.pop(1))
sys.argv[0] = "pip"
runpy.run_module("pip", run_name="__main__", alter_sys=True)' \
        "$bundle/wheels/pip-$pip-py3-none-any.whl" --isolated --no-input --disable-pip-version-check install --quiet \
        --no-index --no-cache-dir --find-links "$bundle/wheels" --require-hashes --only-binary=:all: \
        --requirement "$bundle/requirements.txt"
    # A power cut must not leave a mark of completeness beside empty files (sync -f: coreutils 8.24).
    sync -f "$target" 2>/dev/null || sync
    : >"$target/.complete"
    trap - EXIT
    echo "installed $release"
fi
ln -sfn "releases/$release" "$software/.current.new"
mv -T "$software/.current.new" "$software/current"
echo "$software/current is $release"
