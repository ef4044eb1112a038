# JupyterLab with everything in it, on a processor:  docker build -t wtal . && docker run -p 8888:8888 wtal
# Your data: -v /path/to/data:/wtal/data. Built from the locked versions; not built by this project's own checks.
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
WORKDIR /wtal
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY wtal_lib wtal_lib
RUN pip install --no-cache-dir -e . -c requirements.lock
COPY . .
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "--allow-root"]
