"""`python -m benchmarks.demo`, which `make demo` calls: a Ctrl-C while it loads is no traceback either."""

import sys


def main() -> int:
    try:
        from benchmarks.demo import program
    except KeyboardInterrupt:
        print("Interrupted; nothing was started.")
        return 130
    return program.main()


if __name__ == "__main__":
    sys.exit(main())
