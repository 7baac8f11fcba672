#!/usr/bin/env bash
# Minimal Debian systems in a folder, to try the package where nothing is installed. Needs root,
# debootstrap and, for another architecture, qemu-user-static with binfmt-support.
#
#   debian.sh make DIR SUITE [ARCH]   a minimal system, e.g. trixie arm64
#   debian.sh enter DIR COMMAND...    run a command in it, in a copy of this checkout
#   debian.sh readme DIR              the README's first lines, with one epoch
#   debian.sh dockerfile DIR          what `docker build` and `docker run` do, with one epoch
#   debian.sh cures DIR               a user's way: install, then follow what each error says
#
# $MNIST, a folder with MNIST's four files, is the data directory inside.
set -euo pipefail
checkout=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")

make() {
    local root=$1 suite=$2 arch=${3:-$(dpkg --print-architecture)}
    # With mounts of its own: interrupted, it leaves none behind.
    unshare --mount debootstrap --variant=minbase --arch="$arch" "$suite" "$root"
    if [ -n "${PIP_CERT:-}" ]; then
        cp "$PIP_CERT" "$root/pip-cert.pem"
    fi
}

debian_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export MNIST=${MNIST:-} PIP_CERT=${PIP_CERT:-} INNER_PATH=$debian_path INNER_FOLDER=/src

# Run a command in the root: with its own processes and mounts, and nothing of our environment.
enter() {
    local root=$1
    shift
    mkdir -p "$root/src" "$root/mnist" "$root/$INNER_FOLDER"
    git -C "$checkout" ls-files -z | tar -C "$checkout" -c --null -T - | tar -C "$root/src" -x
    unshare --mount --pid --fork --mount-proc="$root/proc" bash -c '
        [ -z "$MNIST" ] || mount --bind -o ro "$MNIST" "$0/mnist"
        chroot=$(command -v chroot)
        exec env -i ${PIP_CERT:+PIP_CERT=/pip-cert.pem} ${MNIST:+MLP_MX_DATA=/mnist} \
            HOME=/root PATH="$INNER_PATH" \
            "$chroot" "$0" sh -c "cd \"\$0\" && exec \"\$@\"" "$INNER_FOLDER" "$@"' "$root" "$@"
}

# One line for each instruction of the Dockerfile.
instructions() {
    sed -e '/^#/d' -e '/^$/d' -e ':join' -e '/\\$/{N;s/\\\n *//;b join' -e '}' "$checkout/Dockerfile"
}

dockerfile() {
    local root=$1 instruction arguments
    while read -r instruction arguments <&3; do
        case $instruction in
            RUN) echo "+ $arguments"; enter "$root" sh -c "$arguments" ;;
            ENV) INNER_PATH=$(PATH=$debian_path; eval "$arguments"; echo "$PATH") ;;
            WORKDIR) INNER_FOLDER=$arguments ;;
        esac
    done 3< <(instructions)
    enter "$root" python -m mlp_mx.train --epochs 1
}

# All lines of the README's first blocks but the one that gets the project, which is there.
readme() {
    local lines
    lines=$(sed -n -e '/^    git clone /d' -e 's/^    //p' -e '/mlp_mx\.train$/q' "$checkout/README.rst")
    echo "$lines"
    enter "$1" bash -ec "$lines --epochs 1"
}

cures() {
    enter "$1" bash -ec '
        apt-get update && apt-get install -y python3-venv
        for _ in 1 2 3 4; do
            report=$(python3 -m mlp_mx.runtime)
            cure=$(sed -n "s/^MXNet: .*run: //p" <<<"$report")
            [ -n "$cure" ] || break
            grep "^MXNet:" <<<"$report"
            eval "$cure"
        done
        echo "$report"
        python -m mlp_mx.train --epochs 1'
}

"$@"
