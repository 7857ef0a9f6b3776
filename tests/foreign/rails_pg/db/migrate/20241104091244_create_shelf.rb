class CreateShelf < ActiveRecord::Migration[6.1]
  def change
    create_table :authors do |t|
      t.string :name, null: false, index: { unique: true }
    end

    create_table :books do |t|
      t.references :author, null: false, foreign_key: true
      t.string :title, null: false
    end
  end
end
