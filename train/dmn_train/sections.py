"""The tables of a recipe (docs/training.md lists the keys); `recipe.py` puts them together."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dmn_runtime.contract import Normalisation
from dmn_train.foreground_bound import ForegroundBound
from dmn_train.memory.options import RefineRule
from dmn_train.networks.sizes import SIZES, NetworkSpec
from dmn_train.translate.options import Reading

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]
Nanometres = tuple[Positive, Positive, Positive]
SliceRange = tuple[Index, Index]
Label = tuple[Index, ...] | Literal["any"]
"""Values of a mask that are foreground; any: all but 0, as in masks with a number for every object."""
Weight = Annotated[float, Field(ge=0.0)]


def _ordered(span: SliceRange | None, key: str) -> None:
    if span is not None and span[0] >= span[1]:
        raise ValueError(f"{key} must be [first, one past the last]")


class Section(BaseModel):
    """A table of the recipe: unknown keys are refused, types are not bent, values do not change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class NetworkSection(Section):
    """The network: a named student, or `base` and `levels`."""

    name: Literal["s8", "s16", "s32"] | None = None
    base: Annotated[int, Field(ge=1, le=256)] | None = None
    levels: Annotated[int, Field(ge=1, le=6)] | None = None
    context_slices: Annotated[int, Field(ge=0, le=8)] = 0

    @model_validator(mode="after")
    def _name_or_numbers(self) -> Self:
        numbers = [self.base is not None, self.levels is not None]
        if any(numbers) if self.name is not None else not all(numbers):
            raise ValueError("wanted either name or both base and levels")
        return self

    @property
    def spec(self) -> NetworkSpec:
        """The facts that define the network."""
        if self.name is not None:
            named = SIZES[self.name]
            return NetworkSpec(named.base, named.levels, self.context_slices)
        assert self.base is not None
        assert self.levels is not None
        return NetworkSpec(self.base, self.levels, self.context_slices)


class PhantomSection(Section):
    """Made-up volumes with their truth (`dmn_runtime.phantom`): `count` seeds, starting at `seed`."""

    count: Count = 8
    shape: tuple[Count, Count, Count] = (8, 256, 256)
    voxel_nm: Positive = 10.0
    seed: Index = 1000


class SourceSection(Section):
    """The labelled volume: files, or phantoms.

    Attributes:
        image: path of the volume.
        mask: path of its labels.
        valid: path of a volume that is 0 where the labels do not count.
        voxel_nm: voxel size, zyx; wanted where the file does not say it.
        slices: [first, one past the last] slice on the z axis that is trained on.
        columns: likewise on the x axis, raw px.
        label: values of the mask that are foreground, the others are background (255 stays unlabelled);
            any: all values but 0, 255 too; None: the mask holds 0, 1 and 255 alone.
        fraction: share of the slices whose labels are used.
        pick: which ones: drawn at random, or balanced (their foreground shares spread as the volume's do).
        phantom: made-up volumes in place of files.
    """

    image: str | None = None
    mask: str | None = None
    valid: str | None = None
    voxel_nm: Nanometres | None = None
    slices: SliceRange | None = None
    columns: SliceRange | None = None
    label: Label | None = None
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    pick: Literal["random", "balanced"] = "random"
    phantom: PhantomSection | None = None

    @field_validator("label", mode="before")
    @classmethod
    def _values_or_any(cls, label: object) -> object:
        if isinstance(label, list):
            return tuple(label)  # JSON has no tuples
        if label is not None and label != "any" and not isinstance(label, tuple):
            raise ValueError(f'{label!r} names no values of the mask, wanted a list like [1, 2], or "any"')
        return label

    @model_validator(mode="after")
    def _files_or_phantom(self) -> Self:
        files = [self.image is not None, self.mask is not None]
        if self.phantom is not None:
            others = [self.valid, self.voxel_nm, self.slices, self.columns, self.label]
            if any(files) or any(other is not None for other in others):
                raise ValueError("phantom stands alone: remove the keys beside it")
        elif not all(files):
            raise ValueError("wanted both image and mask, or phantom")
        _ordered(self.slices, "slices")
        _ordered(self.columns, "columns")
        return self


class TargetSection(Section):
    """An unlabelled volume of the domain that the network is meant for; there is no key for labels.

    Attributes:
        image: path of the volume.
        voxel_nm: voxel size, zyx; wanted where the file does not say it.
        slices: [first, one past the last] slice on the z axis that is used.
        columns: likewise on the x axis, raw px.
    """

    image: str
    voxel_nm: Nanometres | None = None
    slices: SliceRange | None = None
    columns: SliceRange | None = None

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        _ordered(self.slices, "slices")
        _ordered(self.columns, "columns")
        return self


class DataSection(Section):
    """What is trained on: one labelled source and any number of unlabelled volumes of the target domain.

    Attributes:
        source: labelled.
        extra: made-up volumes beside it, labelled too; `loop.extra_share` says how much of them.
        target: unlabelled.
    """

    source: SourceSection
    extra: PhantomSection | None = None
    target: tuple[TargetSection, ...] = ()


class InitSection(Section):
    """Where the weights start: those of a finished run (`run`, its folder), the moving average of its end."""

    run: str


class NormalisationSection(Section):
    """Percentiles that become -1 and 1, and where values are cut off."""

    low_percent: Annotated[float, Field(ge=0.0, lt=50.0)] = 1.0
    high_percent: Annotated[float, Field(gt=50.0, le=100.0)] = 99.0
    clip: Annotated[float, Field(ge=1.0)] = 2.0

    @property
    def rule(self) -> Normalisation:
        """The rule as the package's contract has it."""
        return Normalisation(self.low_percent, self.high_percent, self.clip)


class LossSection(Section):
    """The segmentation loss on labelled pixels: a sum of terms, each with its weight; 0 leaves a term out.

    Attributes:
        cross_entropy: weight of the binary cross-entropy.
        focal: weight of the focal loss.
        dice: weight of 1 - Dice.
        tversky: weight of 1 - Tversky index.
        foreground_weight: what a foreground pixel counts in cross-entropy and focal loss; background is 1.
        focal_gamma: exponent of the focal loss.
        tversky_false_positive: alpha of the Tversky index.
        tversky_false_negative: beta of it.
        boundary_weight: what pixels at an outline count more in cross-entropy and focal loss; 0 is none.
        boundary_px: standard deviation of that rise, in px from the outline.
    """

    cross_entropy: Weight = 1.0
    focal: Weight = 0.0
    dice: Weight = 1.0
    tversky: Weight = 0.0
    foreground_weight: Positive = 1.0
    focal_gamma: Weight = 2.0
    tversky_false_positive: Weight = 0.3
    tversky_false_negative: Weight = 0.7
    boundary_weight: Weight = 0.0
    boundary_px: Annotated[float, Field(gt=0.0, le=32.0)] = 4.0

    @model_validator(mode="after")
    def _some_term(self) -> Self:
        if not any((self.cross_entropy, self.focal, self.dice, self.tversky)):
            raise ValueError("every term of the loss has weight 0: give one of them a weight")
        return self


class AlignSection(Section):
    """Which features are aligned and how strongly (Roels et al. 2019, equation 1).

    Attributes:
        weight: lambda of the deepest encoder level.
        rise: lambda of a level over that of the level above it; 1 weighs all levels alike.
        encoder_levels: how many of the deepest encoder levels are aligned; None is all.
        decoder_weight: lambda of every decoder level; 0 leaves the decoder alone.
        ramp: raise all lambdas from 0 over the run (Ganin et al. 2016); false keeps them.
    """

    weight: Weight = 1.0
    rise: Annotated[float, Field(ge=1.0)] = 2.0
    encoder_levels: Count | None = None
    decoder_weight: Weight = 0.0
    ramp: bool = True


class MmdSection(AlignSection):
    """Maximum mean discrepancy: pixels drawn from each domain and level, kernel widths over the median.

    The weight makes the term about as large as the segmentation loss when adaptation begins.
    """

    weight: Weight = 30.0
    pixels: Annotated[int, Field(ge=2, le=8192)] = 512
    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.25, 0.5, 1.0, 2.0, 4.0)


class CoralSection(AlignSection):
    """Correlation alignment of the channels' covariances; the weight as for MMD."""

    weight: Weight = 1000.0


class DannSection(AlignSection):
    """Domain-adversarial training: `channels` of the discriminators' convolutions."""

    channels: Count = 48


def _only_with_align(options: DannSection | None, align: Literal["none", "dann"]) -> None:
    if options is not None and align != "dann":
        raise ValueError('dann has no meaning without align = "dann": remove it, or set align')


class YnetSection(Section):
    """Reconstruction of both domains by a second decoder without skips (Roels et al. 2019, equation 2).

    Attributes:
        source_weight: lambda_s.
        target_weight: lambda_t.
    """

    source_weight: Weight = 1.0
    target_weight: Weight = 1.0


class IscSection(Section):
    """Inter-section consistency: two sections of a place, and a head that says where they differ.

    Attributes:
        gap_nm: distance of the two sections, in each domain the whole slices nearest to it, 1 at least; None
            is the thickest slice of source and target.
        residual_weight: of the loss on where the source's sections differ.
        weight: of the loss on the target.
        ramp: share of the run over which that weight rises, exp(-5 (1 - p)^2).
        align: dann: add the domain discriminators of method dann, with the options of `dann`.
        dann: these options.
    """

    gap_nm: Positive | None = None
    residual_weight: Positive = 0.5
    weight: Weight = 1.0
    ramp: Share = 0.25
    align: Literal["none", "dann"] = "none"
    dann: DannSection | None = None

    @model_validator(mode="after")
    def _discriminators_fit(self) -> Self:
        _only_with_align(self.dann, self.align)
        return self


class ViewsSection(Section):
    """How the masked view of a target crop differs from its strong view.

    Attributes:
        hidden_share: share of the blocks that are hidden; 0 hides none.
        block_px: their edge.
        hole_px: edge of one square hole a crop; 0 is none.
        mix: what is taken from the source's crop of the same number: none, cut (a rectangle) or class (its
            foreground).
    """

    hidden_share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    block_px: Count = 32
    hole_px: Index = 0
    mix: Literal["none", "cut", "class"] = "none"

    @property
    def changes(self) -> bool:
        """Tell whether the masked view is another one than the strong view."""
        return self.hidden_share > 0.0 or self.hole_px > 0 or self.mix != "none"


class TeacherSection(Section):
    """The moving average that makes up the labels.

    Attributes:
        decay: of the average, which looks back 1 / (1 - decay) steps, but never more than a tenth of those
            done: 0.99 counts from step 890 on, 0.999 from step 8990 on (`average.py`).
        buffers: average: BatchNorm's statistics are averaged like weights; own: they stay those of the start.
        views: flips and quarter turns that a prediction is the mean of.
    """

    decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99
    buffers: Literal["average", "own"] = "average"
    views: Annotated[int, Field(ge=1, le=8)] = 2


class PseudoLabelSection(Section):
    """What is made of a teacher's probabilities (`pseudo_labels.py`).

    Attributes:
        kind: soft: the probability; hard: its side of 0.5.
        confidence: which pixels count: balanced: of the foreground the `keep` most certain, of the
            background all but as many uncertain ones as that leaves out; quantile: of each class the `keep`
            most certain; threshold: those of probability >= high or <= low; share: all, and the loss is
            multiplied by the share of such pixels.
        keep: share of the foreground that balanced keeps, of each class that quantile keeps.
        high: probability of a confident foreground pixel, at least.
        low: of a confident background pixel, at most.
        agreement: leave out pixels that the teacher's views put into different classes.
        most_foreground: share of the target's pixels that may be foreground at most (`ceiling.py`), or
            "1.5x": times the source's; None is no bound.
        loss: cross_entropy; bce_dice: with Dice, which turns what is unsure into foreground; symmetric: 0.1
            cross-entropy + reverse cross-entropy.
    """

    kind: Literal["soft", "hard"] = "soft"
    confidence: Literal["balanced", "quantile", "threshold", "share"] = "balanced"
    keep: Annotated[float, Field(gt=0.0, le=1.0)] = 0.8
    high: Annotated[float, Field(ge=0.5, lt=1.0)] = 0.9
    low: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.1
    agreement: bool = True
    most_foreground: ForegroundBound | None = None
    loss: Literal["cross_entropy", "bce_dice", "symmetric"] = "cross_entropy"


class MeanTeacherSection(Section):
    """Self-training with labels of a teacher, alone or beside an alignment of features.

    Attributes:
        strong_weight: of the loss on the strong view; it has a share in the target's statistics at 0 as well.
        masked_weight: of the loss on the masked view; at 0 there is none.
        ramp: share of the run over which both weights rise, exp(-5 (1 - p)^2).
        teacher: the teacher.
        labels: what is made of its predictions.
        views: what the student sees.
        align: dann: add the domain discriminators of method dann, with the options of `dann`.
        dann: these options.
    """

    strong_weight: Weight = 1.0
    masked_weight: Weight = 1.0
    ramp: Share = 0.25
    teacher: TeacherSection = TeacherSection()
    labels: PseudoLabelSection = PseudoLabelSection()
    views: ViewsSection = ViewsSection()
    align: Literal["none", "dann"] = "none"
    dann: DannSection | None = None

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.masked_weight > 0.0 and not self.views.changes:
            raise ValueError(
                "views changes nothing, so the masked view is the strong one again: set masked_weight to 0, "
                "or change views.hidden_share, views.hole_px or views.mix"
            )
        _only_with_align(self.dann, self.align)
        return self


class StagesSection(Section):
    """When the parts of dismemnet come in, as shares of the run.

    Attributes:
        translation: at the start, for the generator to learn; its images serve nothing yet. Without gated
            translation there is no such stage.
        bank: then, for the memory to fill from labelled crops. Without a memory there is no such stage.
        student_waits: leave the network as it is while the generator learns, and ramp up from there; its
            learning rate rises and falls meanwhile as if it learned.
    """

    translation: Share = 0.25
    bank: Share = 0.05
    student_waits: bool = False

    @model_validator(mode="after")
    def _something_left(self) -> Self:
        if self.translation + self.bank >= 1.0:
            raise ValueError("translation and bank take the whole run: let their sum be below 1")
        return self


class TranslationSection(Section):
    """The source's crops in the target's style (docs/translation.md).

    Attributes:
        kind: none; histogram: grey values matched to the target's histogram; gated: the gated contrastive
            translation, which all other keys but `weight` are of.
        weight: of the segmentation loss on translated crops.
        gate: what the gate is.
        base, blocks: of the generator.
        discriminator_base, halvings: of the discriminator; with 2 halvings it judges patches of 34 px.
        stages: of the generator whose features are compared.
        locations: compared in each image and stage.
        adversarial, nce, structure: weights of the generator's losses.
        identity: whether target crops pass the generator too.
        lr: peak of the translator's learning rate.
        every: after its stage the generator learns in each so many steps;
        until: and from this share of the run in none.
        decay: of the generator's moving average, which draws the images; as a teacher's, from step 170 on.
    """

    kind: Literal["none", "histogram", "gated"] = "gated"
    weight: Weight = 1.0
    gate: Reading = "rule"
    base: Count = 16
    blocks: Count = 4
    discriminator_base: Count = 16
    halvings: Annotated[int, Field(ge=1, le=4)] = 2
    stages: Annotated[tuple[Index, ...], Field(min_length=1)] = (0, 2, 3, 4, 6)
    locations: Annotated[int, Field(ge=2, le=4096)] = 256
    adversarial: Weight = 1.0
    nce: Weight = 1.0
    structure: Weight = 1.0
    identity: bool = False
    lr: Positive = 1e-3
    every: Count = 8
    until: Share = 0.75
    decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.95


class MemorySection(Section):
    """Prototypes of structures, and what they do to made-up labels (docs/memory.md).

    Attributes:
        kind: none; batch: those of each step's labelled crops; persistent: a bank that moves by momentum.
        classes: 4: interior, boundary band, near and far background; 2: foreground and background.
        band_px, near_px: how far from the outline the second and the third reach.
        slots: prototypes of a class.
        width: length of a vector.
        first_momentum, last_momentum, rise_updates: the bank's momentum rises from one to the other over so
            many updates.
        dead_updates: a slot that no vector has come to in so many updates is taken to another place.
        contrast: weight of the loss that draws vectors to their prototypes.
        refine: what the memory does to labels: none; multiply: shift the probability; disagreement_ignore:
            leave out pixels that it puts into the other class; multiply_and_ignore: both.
        counts: which pixels count and how much: labels: as `labels` has it; certainty: 1 - H(p) / log 2 of
            those with a probability of their class of at least `least`.
        first_power, last_power: of the memory in the product, at the start and at the end of the run.
        least: see `counts`.
    """

    kind: Literal["none", "batch", "persistent"] = "persistent"
    classes: Literal[2, 4] = 4
    band_px: Annotated[int, Field(ge=1, le=64)] = 3
    near_px: Annotated[int, Field(ge=1, le=64)] = 8
    slots: Annotated[int, Field(ge=1, le=16)] = 8
    width: Annotated[int, Field(ge=2, le=1024)] = 64
    first_momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99
    last_momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
    rise_updates: Count = 1000
    dead_updates: Count = 500
    contrast: Weight = 0.1
    refine: RefineRule = "multiply_and_ignore"
    counts: Literal["labels", "certainty"] = "labels"
    first_power: Weight = 0.5
    last_power: Weight = 1.0
    least: Annotated[float, Field(ge=0.5, lt=1.0)] = 0.8


class DistillationSection(Section):
    """What the network matches of the teacher beside labels (docs/memory.md).

    Attributes:
        weight: of the sum of the three; at 0 nothing is computed.
        output: weight of the softened outputs' divergence,
        temperature: and what softens them.
        attention: weight of the attention maps.
        side: weight of the side outputs.
    """

    weight: Weight = 0.5
    output: Weight = 1.0
    temperature: Positive = 2.0
    attention: Weight = 1.0
    side: Weight = 1.0


class DismemnetSection(MeanTeacherSection):
    """The joint objective: self-training, with translated crops, a memory and distillation beside it.

    Attributes:
        stages: when the parts come in.
        translation: the source in the target's style.
        memory: prototypes that refine labels.
        distillation: what is matched beside labels.
    """

    stages: StagesSection = StagesSection()
    translation: TranslationSection = TranslationSection()
    memory: MemorySection = MemorySection()
    distillation: DistillationSection = DistillationSection()

    @model_validator(mode="after")
    def _generator_is_ready(self) -> Self:
        if self.translation.kind == "gated" and self.translation.until < self.stages.translation:
            raise ValueError(
                "translation.until lies before the end of stages.translation: let the generator learn at "
                "least to the end of its stage"
            )
        return self


class DistilSection(Section):
    """A student of any width learns of the target what a finished, adapted run says of it.

    Attributes:
        teacher: folder of that run.
        views: flips and quarter turns that a label is the mean of.
        source_share: share of the source's crops of a step that are learned from too, with their own labels.
        source_weight: of the loss on them; at 0 they pass for the source's statistics alone.
        dice: weight of 1 - Dice beside the cross-entropy on the teacher's labels.
        boundary_weight: what pixels at an outline of the teacher's mask count more in that cross-entropy.
        boundary_px: standard deviation of that rise, in px from the outline.
        attention: weight of the distance of the attention maps; 0 compares none.
        attention_levels: what those of 1/2, 1/4 and 1/8 of the resolution count in it.
        recalibrate_crops: plain crops of the target that BatchNorm's statistics are taken from at the end;
            0 keeps the running ones.
    """

    teacher: str
    views: Annotated[int, Field(ge=1, le=8)] = 8
    source_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25
    source_weight: Weight = 1.0
    dice: Weight = 1.0
    boundary_weight: Weight = 1.0
    boundary_px: Annotated[float, Field(gt=0.0, le=32.0)] = 2.0
    attention: Weight = 1.0
    attention_levels: tuple[Weight, Weight, Weight] = (0.5, 0.5, 0.0)
    recalibrate_crops: Index = 256

    @model_validator(mode="after")
    def _some_level(self) -> Self:
        if self.attention > 0.0 and not any(self.attention_levels):
            raise ValueError(
                "attention has a weight and attention_levels none: set attention to 0, or weigh a level"
            )
        return self

    @property
    def plain_views(self) -> ViewsSection:
        """Views of which only the plain one is asked for: nothing is hidden from a student of a teacher."""
        return ViewsSection(hidden_share=0.0)


MethodName = Literal[
    "source_only", "adabn", "mmd", "coral", "dann", "ynet", "isc", "mean_teacher", "dismemnet", "distil"
]
OPTIONS = ("mmd", "coral", "dann", "ynet", "isc", "mean_teacher", "dismemnet", "distil")
"""Methods that have a table of their own, `[method.NAME]`."""


class MethodSection(Section):
    """The training method, with the options of the one that is named.

    Attributes:
        name: the method; all but source_only want a target.
        histogram_matching: share of the source's crops that are matched to the target's histogram.
        statistics: own: BatchNorm normalises each domain by itself and the target's statistics are exported;
            shared: both go through it as one batch, as in the 2018 code of Roels et al.
        mmd: options of method mmd, and so on.
    """

    name: MethodName = "source_only"
    histogram_matching: Share = 0.0
    statistics: Literal["own", "shared"] = "own"
    mmd: MmdSection | None = None
    coral: CoralSection | None = None
    dann: DannSection | None = None
    ynet: YnetSection | None = None
    isc: IscSection | None = None
    mean_teacher: MeanTeacherSection | None = None
    dismemnet: DismemnetSection | None = None
    distil: DistilSection | None = None

    @property
    def views(self) -> ViewsSection | None:
        """What the masked view is like, for a method that wants the target's views; None for others."""
        if self.distil is not None:
            return self.distil.plain_views
        teaches = self.mean_teacher or self.dismemnet
        return None if teaches is None else teaches.views

    @property
    def plain_source(self) -> Literal["none", "own", "matched"]:
        """Which grey values the source's crops are wanted with once more, with nothing else changed."""
        if self.dismemnet is None:
            return "none"
        match self.dismemnet.translation.kind:
            case "none":
                return "none"
            case "histogram":
                return "matched"
            case "gated":
                return "own"

    @model_validator(mode="after")
    def _no_others(self) -> Self:
        for name in OPTIONS:
            if name != self.name and getattr(self, name) is not None:
                raise ValueError(f"[method.{name}] has no meaning for method {self.name}: remove it")
        if self.statistics == "shared" and self.name not in OPTIONS:
            raise ValueError(f'method {self.name} has no shared statistics: set statistics to "own"')
        if self.name in OPTIONS and getattr(self, self.name) is None:
            raise ValueError(f"[method.{self.name}] is missing, add it")
        return self


class AugmentSection(Section):
    """How often (probability per crop) and how strongly crops are changed.

    Attributes:
        flip: flips and quarter turns, all eight alike.
        rotate_degrees: largest turn beyond those, either way.
        scale: largest zoom factor, in or out; 1 is none.
        warp: probability of turn and zoom.
        elastic: probability of a smooth displacement.
        elastic_px: standard deviation of that displacement.
        strength: of all changes of intensity together: 0 none, 1 strong.
        target_strength: the same for crops of the target; None is `strength`.
    """

    flip: bool = True
    warp: Share = 0.5
    rotate_degrees: Annotated[float, Field(ge=0.0, le=180.0)] = 45.0
    scale: Annotated[float, Field(ge=1.0, le=2.0)] = 1.25
    elastic: Share = 0.3
    elastic_px: Annotated[float, Field(ge=0.0, le=32.0)] = 3.0
    strength: Annotated[float, Field(ge=0.0, le=2.0)] = 1.0
    target_strength: Annotated[float, Field(ge=0.0, le=2.0)] | None = None


class OptimiserSection(Section):
    """AdamW, its schedule and the average of weights.

    Attributes:
        lr: peak of the learning rate.
        weight_decay: of AdamW.
        schedule: how the rate falls after the warm-up (`schedule.py`).
        warmup_steps: steps of linear rise.
        drop: factor of the schedule "step".
        drop_every_steps: how often that factor is laid on.
        clip_norm: bound of the gradient's norm.
        ema_decay: of the moving average of weights that is exported; 0 is none. As with a teacher's, it looks
            back no more than a tenth of the steps done: a larger one is the same in a short run.
    """

    lr: Positive = 2e-3
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-2
    schedule: Literal["cosine", "poly", "step", "constant"] = "cosine"
    warmup_steps: Index = 50
    drop: Annotated[float, Field(gt=0.0, le=1.0)] = 0.95
    drop_every_steps: Count = 100
    clip_norm: Positive = 1.0
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99


class LoopSection(Section):
    """How long, how much at once, and how often something is written.

    Attributes:
        steps: of the optimiser.
        batch: crops of the source, and as many of the target.
        crop_px: their edge, on the working grid.
        foreground_share: of the crops that lie around a foreground voxel.
        extra_share: of the source's crops that are cut from `data.extra`, rounded up.
        seed: of everything that is drawn.
        checkpoint_every, validate_every: in steps.
        precision, device, devices: what computes.
    """

    steps: Count = 2000
    batch: Count = 8
    crop_px: Annotated[int, Field(ge=8, le=2048)] = 192
    foreground_share: Share = 0.5
    extra_share: Share = 0.0
    seed: Index = 0
    checkpoint_every: Count = 200
    validate_every: Count = 250
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: Count = 1


class ValidateSection(Section):
    """Labelled source data held out for the curves: slices of the volume, or as many other phantoms."""

    slices: SliceRange | None = None
    phantoms: Count | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.slices is None) == (self.phantoms is None):
            raise ValueError("wanted either slices or phantoms")
        _ordered(self.slices, "slices")
        return self


class SelectSection(Section):
    """Which weights of a run are kept; no rule reads a label of the target.

    Attributes:
        rule: last: those of the last step. held_out: the best IoU on held-out source data. solidity: where
            the objects found in the target are as solid as the source's labels. entropy: where the target's
            probabilities are most certain. All are measured at every validation.
        keep: how many snapshots stay in the run folder, the best by `rule` (for "last": the latest).
        patience: validations without a better score after which the run ends; 0 never ends it early.
        target_slices: how many slices of the target solidity, entropy and the threshold are measured on.
        most_foreground: the run's threshold is raised from 0.5 until no larger share of the target is
            foreground, or "1.5x": times the source's; None leaves it there.
    """

    rule: Literal["last", "held_out", "solidity", "entropy"] = "last"
    keep: Index = 0
    patience: Index = 0
    target_slices: Count = 6
    most_foreground: ForegroundBound | None = None

    @model_validator(mode="after")
    def _patience_needs_a_score(self) -> Self:
        if self.patience and self.rule == "last":
            raise ValueError('patience needs a score: set rule to "held_out", "solidity" or "entropy"')
        return self


class LogSection(Section):
    """How the run is followed."""

    every: Count = 25
    overlays: Index = 3
    tensorboard: bool = False
