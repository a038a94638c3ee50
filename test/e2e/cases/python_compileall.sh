# shell: /bin/bash
# timeout: 240
cp -r /usr/lib/python3.11/json /usr/lib/python3.11/email /usr/lib/python3.11/asyncio . && find . -name __pycache__ -prune -exec rm -r {} +
python3 -m compileall -q . ; echo "status $?"
python3 -m compileall -q -f -j 2 email --invalidation-mode unchecked-hash; echo "status $?"
find . -name '*.pyc' | wc -l
find email -name '*.pyc' | sort | xargs sha256sum | sha256sum
