"""The texts that users of the showroom wrote, in both languages."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ShowroomTexts:
    """The texts of one user, in their language."""

    name: str
    team: str
    customers: str
    about_customers: str
    firsts: tuple[str, ...]
    lasts: tuple[tuple[str, str], ...]  # a woman's and a man's, alternating like the first names
    towns: tuple[str, ...]
    ready: str
    faulty: str
    scheduled: str
    grace: str
    sending: str
    waiting: str
    failing: str
    paused: str
    night: str
    late: str
    hindered: str
    finished: str
    stopped: str
    taken_back: str
    long: str
    preheader: str
    template: str
    token: str
    heads: str
    row: str

    def name_of(self, first: int, last: int) -> tuple[str, str]:
        """Return a first and a last name."""
        return self.firsts[first], self.lasts[last][first % 2]


WORDS = {
    "en": ShowroomTexts(
        name="Anna Weaver",
        team="Weaver's Workshop",
        customers="Customers",
        about_customers="Everybody who has bought something since the spring of 2024.",
        firsts=("Alice", "Ben", "Chloe", "Daniel", "Emma", "Finn", "Grace", "Hugh"),
        lasts=tuple(
            (last, last)
            for last in ("Weaver", "Carter", "Martin", "Fox", "Hughes", "O'Neill", "Kim", "Featherstonehaugh")
        ),
        towns=("Leeds", "Dublin", "Oslo", "Cork"),
        ready="Autumn news",
        faulty="Spring sale, first try",
        scheduled="Invitation to the open day",
        grace="A short note",
        sending="October digest",
        waiting="Price list for 2027",
        failing="Thank you for your order",
        paused="Winter opening hours",
        night="Courses in January",
        late="Good morning",
        hindered="Email with a broken link",
        finished="September digest",
        stopped="Wrong attachment",
        taken_back="Planned and called off",
        long="An announcement whose name is so long that no column of any table was ever made for it",
        preheader="Five minutes of reading, and a recipe at the end.",
        template="House style",
        token="Web shop",
        heads="Email,First name,Last name,Birthday,Town",
        row="{address},{first},{last},1990-05-14,{town}",
    ),
    "ru": ShowroomTexts(
        name="Анна Ткачёва",
        team="Мастерская Ткачёвой",
        customers="Покупатели",
        about_customers="Все, кто купил что-нибудь с весны 2024 года.",
        firsts=("Анна", "Пётр", "Мария", "Фёдор", "Ольга", "Юрий", "Зоя", "Игнат"),
        lasts=(
            ("Иванова", "Иванов"),
            ("Ёлкина", "Ёлкин"),
            ("Цой", "Цой"),
            ("Щедрина", "Щедрин"),
            ("Эйхенбаум", "Эйхенбаум"),
            ("Дальняя-Восточная", "Дальний-Восточный"),
            ("Ким", "Ким"),
            ("Святополк-Мирская", "Святополк-Мирский"),
        ),
        towns=("Псков", "Тверь", "Казань", "Пермь"),
        ready="Осенние новости",
        faulty="Весенняя распродажа, первая попытка",
        scheduled="Приглашение на день открытых дверей",
        grace="Короткая записка",
        sending="Октябрьский дайджест",
        waiting="Цены на 2027 год",
        failing="Спасибо за заказ",
        paused="Зимние часы работы",
        night="Занятия в январе",
        late="Доброе утро",
        hindered="Письмо со сломанной ссылкой",
        finished="Сентябрьский дайджест",
        stopped="Не то вложение",
        taken_back="Задумано и отменено",
        long="Объявление с таким длинным названием, что ни один столбец таблицы на него не рассчитан",
        preheader="Пять минут чтения и рецепт в конце.",
        template="Письмо мастерской",
        token="Интернет-магазин",
        heads="Почта;Имя;Фамилия;День рождения;Город",
        row="{address};{first};{last};14.05.1990;{town}",
    ),
}
