"""Write one page for a lab meeting, as PDF: what was run, what came out, what it doesn't say.

Reads
    The flags of write_cards, and
    --shards       every shard of cubes
    --predictions  HDF5 of predict_cubes, every run
Writes
    --out-summary  summary.pdf, one page A4
Method
    Mean Dice of model and reader left out against the majority of the same others, with 95 %
    intervals; what the fifth reader test found of the last network; its Dice by diameter; its
    nodules at the 10th, 50th and 90th percentile of Dice with the consensus, in the slice where
    that is largest. No nodule is picked by hand. A phantom is labelled so.
Source
    Numbers: compare_experiments, compare_with_readers and describe_splits
"""

from quorum.card_inputs import add_inputs, read_facts
from quorum.command import make_parser, run_command
from quorum.files import write_whole
from quorum.meeting_page import pick_nodules, write_page
from quorum.shards import open_shards


def main(argv=None):
    """Parse, read, draw, write."""
    parser = make_parser(__doc__)
    add_inputs(parser)
    parser.add_argument("--shards", required=True, nargs="+", help="shards of cubes")
    parser.add_argument("--predictions", required=True, nargs="+", help="HDF5 of every run")
    parser.add_argument("--out-summary", required=True, help="PDF to write")
    args = parser.parse_args(argv)
    facts = read_facts(args)
    examples = pick_nodules(facts, open_shards(args.shards), args.predictions)
    with write_whole(args.out_summary) as temporary:
        write_page(facts, examples, temporary)


if __name__ == "__main__":
    run_command(main)
