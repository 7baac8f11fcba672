# mlp_mx with MXNet and everything else that it needs, on amd64 and arm64:
#
#     docker build -t mlp_mx .
#     docker run --rm -it -v mlp_mx:/root/.mxnet mlp_mx
#
# The volume keeps the data set. tests/machines/debian.sh runs these lines without Docker.
FROM debian:trixie-slim

RUN apt-get update && \
    case $(dpkg --print-architecture) in \
        amd64) libraries="libquadmath0" ;; \
        arm64) libraries="libopenblas0-openmp liblapacke" ;; \
    esac && \
    apt-get install -y --no-install-recommends python3-venv libgomp1 $libraries && \
    rm -rf /var/lib/apt/lists/*

# MXNet's wheel for Arm looks for the Arm Performance Libraries, which no package provides.
# OpenBLAS, LAPACKE and the C library have the functions that it calls.
RUN if [ $(dpkg --print-architecture) = arm64 ]; then \
        cd /usr/lib/aarch64-linux-gnu && \
        ln -sf openblas-openmp/libopenblas.so.0 libarmpl_lp64_mp.so && \
        ln -sf liblapacke.so.3 libamath.so && \
        ln -sf libm.so.6 libastring.so; \
    fi

RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH

WORKDIR /src
COPY . .
RUN pip install --no-cache-dir . && pip install --no-cache-dir --no-deps mxnet==1.9.1

# Mount a folder here to keep files: docker run --rm -it -v mlp_mx:/root/.mxnet -v "$PWD:/work" \
#     mlp_mx python -m mlp_mx.train --save model.npz
WORKDIR /work
CMD ["python", "-m", "mlp_mx.train"]
