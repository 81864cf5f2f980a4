"""The teacher sees what it always saw, and its features are those of the crops as they are."""

import torch

from dmn_train.domains import DomainNetwork
from dmn_train.methods.dismemnet_parts.sight import look
from dmn_train.sections import TeacherSection
from dmn_train.teacher import Teacher


def test_views_are_the_teachers_own_and_features_those_of_the_first(network: DomainNetwork) -> None:
    teacher = Teacher(network, TeacherSection(views=3))
    plain = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    expected = teacher.predict(plain)
    seen = look(teacher, plain, views=3)
    assert torch.equal(seen.views, expected)
    torch.testing.assert_close(seen.features.logits.sigmoid(), seen.views[0])
    assert not seen.features.decoder[0].requires_grad
    assert not teacher.network.training
